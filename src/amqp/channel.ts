import { Ending } from '../core/ending.js'
import { ConnectionLostError } from '../core/errors.js'
import { now } from '../core/timing.js'
import type { DriverChannel } from './driver.js'
import type { LatestIds } from './recent-ids.js'

/** Verdicts no further apart come in a row: more are likely to follow in this turn of the event loop. */
const IN_A_ROW_MS = 0.5
/** Short beside the time limits of those who watch the channel, long beside the pause between two messages under load. */
const LATE_MS = 5
/** So many acknowledgements fill a write of about a kilobyte; more together save nothing. */
const MAX_LATE = 64

/** Why a channel is no more. @internal */
export interface ChannelEnd {
  readonly error: Error
  /** True when the broker closed this channel for an error on it, and the connection goes on. */
  readonly isRefusal: boolean
}

/**
 * A channel of amqplib with its events caught.
 *
 * Its `'error'` must have a listener, or one refused operation ends the whole connection with every innocent channel.
 * @internal
 */
export class Channel {
  readonly raw: DriverChannel
  /** Call it when one of many messages or acknowledgements is sent. */
  readonly gather: () => void
  readonly ending: Ending<ChannelEnd> = new Ending()
  /** What was acknowledged last, as many as the broker may not have heard of; for consumers that tell copies. */
  acknowledged: LatestIds | undefined
  /** Messages that were delivered on it. */
  deliveredCount = 0
  #unsettledCount = 0
  /** Acknowledgements since the broker last delivered. */
  #unheardCount = 0
  #settledAt = 0
  readonly #late: { readonly run: () => void; readonly then: (isDone: boolean) => void }[] = []
  #lateTimer: NodeJS.Timeout | undefined
  #onSettled: (() => void) | undefined

  constructor(raw: DriverChannel, hostName: string, gather: () => void) {
    this.raw = raw
    this.gather = gather
    raw.on('error', (error) => this.ending.come({ error, isRefusal: true }))
    raw.on('close', () =>
      this.ending.come({ error: new ConnectionLostError(hostName, 'the channel was closed'), isRefusal: false }),
    )
    this.ending.on(() => this.settleAll())
  }

  get isOpen(): boolean {
    return !this.ending.hasCome
  }

  /** True while more messages should come: some were acknowledged and nothing came since. */
  get isExpecting(): boolean {
    return this.isOpen && this.#unheardCount > 0
  }

  /** True while every message that was delivered has its verdict, so that nothing keeps the broker from delivering. */
  get isSettled(): boolean {
    return this.#unsettledCount === 0
  }

  /** A message came. */
  delivered(): void {
    this.deliveredCount += 1
    this.#unsettledCount += 1
    this.#unheardCount = 0
  }

  /** Tells the broker what became of a message; false when the channel has ended. */
  settle(run: () => void): boolean {
    if (!this.isOpen || !this.attempt(run)) return false
    this.#unsettledCount -= 1
    const at = now()
    if (this.#unsettledCount > 0 || at - this.#settledAt < IN_A_ROW_MS) this.gather()
    this.#settledAt = at
    this.#unheardCount += 1
    if (this.#unsettledCount === 0) this.#onSettled?.()
    return true
  }

  /** {@link Channel.settle}, but within a few milliseconds, together with others; `then` is told what it returned. */
  settleLate(run: () => void, then: (isDone: boolean) => void): void {
    this.#late.push({ run, then })
    if (this.#late.length >= MAX_LATE || !this.isOpen) this.settleAll()
    else this.#lateTimer ??= setTimeout(() => this.settleAll(), LATE_MS)
  }

  /** Does now what `settleLate` was given. */
  settleAll(): void {
    clearTimeout(this.#lateTimer)
    this.#lateTimer = undefined
    for (const { run, then } of this.#late.splice(0)) then(this.settle(run))
  }

  /** Resolves when every message has its verdict, or the channel has ended. */
  async settled(): Promise<void> {
    if (!this.isOpen || this.isSettled) return
    await new Promise<void>((resolve) => {
      this.#onSettled = resolve
      this.ending.on(() => resolve())
    })
  }

  /** The host has shown that it lives: its silence only means that the queue is empty. */
  reassure(): void {
    this.#unheardCount = 0
  }

  /** Closes the channel without waiting: nobody needs the answer, and a silent broker would never give one. */
  dismiss(): void {
    if (!this.isOpen) return
    this.ending.come({ error: new Error('the channel was given up'), isRefusal: false })
    this.attempt(() => void this.raw.close().catch(() => undefined))
  }

  /** Runs something that amqplib refuses by a throw when the channel has just ended; false when it did. */
  attempt(run: () => void): boolean {
    try {
      run()
      return true
    } catch {
      return false
    }
  }
}
