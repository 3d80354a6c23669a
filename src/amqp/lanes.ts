import { backoffDelay } from '../core/backoff.js'
import { now } from '../core/timing.js'
import type { ChannelEnd } from './channel.js'
import type { Entry } from './entry.js'
import { Lane } from './lane.js'
import { Patience } from './patience.js'
import type { Session } from './session.js'
import { AdaptiveWindow } from './window.js'

const REOPEN_PAUSE = Object.freeze({ initialMs: 10, factor: 2, maxMs: 1000 })
/** Age at which a channel that refuses is replaced, growing while that does not help. */
const RENEWAL_PAUSE = Object.freeze({ initialMs: 40, factor: 2, maxMs: 5000 })
/** A channel that lived so long before it refused counts as a good one. */
const GOOD_AGE_MS = 10_000
/** In flight at first after a connection was lost, and after a channel was given up: each may make that many copies. */
const WINDOW_AFTER_LOSS = 128
const WINDOW_AFTER_SILENCE = 16

/** Told of the messages on the channels. @internal */
export interface LanesListener {
  readonly onConfirmed: (entry: Entry) => void
  readonly onRefused: (entry: Entry) => void
  readonly onReturned: (entry: Entry) => void
  /** There is room on the channel, perhaps a new one. */
  readonly onRoom: () => void
  /** A channel was opened: what was refused on another one may go out. */
  readonly onOpened: (session: Session) => void
  /** The broker closed the channel because of one of these. */
  readonly onSuspect: (entries: readonly Entry[], error: Error) => void
  /** These were on a channel that is gone, oldest first; `isOvertaken` when others were confirmed there meanwhile. */
  readonly onLost: (entries: readonly Entry[], isOvertaken: boolean) => void
}

/**
 * The channel that publishes, and those that it replaced and that still wait for confirmations.
 * @internal
 */
export class Lanes {
  readonly #listener: LanesListener
  readonly #window = new AdaptiveWindow()
  readonly #patience = new Patience()
  readonly #retired = new Set<Lane>()
  #session: Session | undefined
  #spare: Lane | undefined
  #spareSession: Session | undefined
  #current: Lane | undefined
  #promoted: Lane | undefined
  #isOpening = false
  #renewals = 0
  #renewal: NodeJS.Timeout | undefined
  #reopening: NodeJS.Timeout | undefined
  #failedOpenings = 0
  #isClosed = false

  constructor(listener: LanesListener) {
    this.#listener = listener
  }

  /** The channel to publish on. */
  get current(): Lane | undefined {
    return this.#current
  }

  /** The channel on the connection that stands by, unless the broker takes no messages there. */
  get spare(): Lane | undefined {
    return this.#spareSession?.blockedReason === undefined ? this.#spare : undefined
  }

  /** True while the broker owes a confirmation. */
  get isWaiting(): boolean {
    return (this.#current?.inFlightCount ?? 0) > 0 || this.#retired.size > 0
  }

  /** True if the channel leaves its messages without a verdict for longer than is worth waiting. */
  isNeglectful(lane: Lane): boolean {
    return lane.neglectedMs >= this.#patience.ms(now(), lane.wasRefused, lane === this.#promoted)
  }

  /** Uses a new connection; `isFailover` when there was one before, `isWarm` when the spare channel was used. */
  attach(session: Session, isFailover: boolean, isWarm: boolean): void {
    if (isFailover) {
      this.#patience.onFailover(now())
      this.#window.restart(WINDOW_AFTER_LOSS)
    }
    this.#session = session
    session.ending.on(() => {
      if (this.#session === session) this.#session = undefined
    })
    this.#renewals = 0
    this.#failedOpenings = 0
    this.#stopTimers()
    const spare = this.#spareSession === session ? this.#spare : undefined
    if (spare === undefined) {
      void this.#open(session)
      return
    }
    this.#spare = undefined
    this.#promoted = isWarm ? spare : undefined
    this.#use(session, spare)
  }

  /** Keeps a channel open on a connection that stands by; `onSpare` is told when there is a fresh one. */
  async prepare(session: Session, onSpare: () => void): Promise<void> {
    const isUseless = (): boolean => this.#isClosed || this.#session === session
    if (isUseless() || !session.isOpen) return
    this.#spareSession = session
    const channel = await session.openConfirmChannel().catch(() => undefined)
    if (channel === undefined) return
    if (isUseless() || this.#spareSession !== session) {
      channel.dismiss()
      return
    }
    const lane = this.#make(session, channel)
    this.#spare = lane
    onSpare()
    // An innocent one is not missed for long; one that was refused comes back with the same pause.
    channel.ending.on(() => {
      if (this.#spare === lane) this.#spare = undefined
      if (this.#isClosed || !session.isOpen || this.#session === session) return
      const timer = setTimeout(() => void this.prepare(session, onSpare), REOPEN_PAUSE.maxMs).unref()
      session.ending.on(() => clearTimeout(timer))
    })
  }

  /** The broker takes messages again: until now it could not confirm any. */
  onUnblocked(): void {
    for (const lane of this.#all()) lane.excuse()
  }

  /** What was lost with a channel, or refused on it, was confirmed on another one. */
  onLateConfirm(): void {
    this.#patience.onAnswered(now())
  }

  /** Gives channels up that leave messages without a verdict; what they had is sent again. */
  giveUpNeglectful(): void {
    for (const lane of this.#all()) {
      if (!this.isNeglectful(lane)) continue
      this.#patience.onGivenUp(now())
      this.#window.restart(WINDOW_AFTER_SILENCE)
      lane.channel.dismiss()
    }
  }

  close(): void {
    this.#isClosed = true
    this.#stopTimers()
  }

  async #open(session: Session): Promise<void> {
    if (this.#isOpening) return
    this.#isOpening = true
    try {
      const channel = await session.openConfirmChannel()
      this.#isOpening = false
      if (channel.isOpen) this.#use(session, this.#make(session, channel))
      else if (session.isOpen) this.#reopen(session)
    } catch {
      this.#isOpening = false
      this.#reopen(session)
    }
    // Another connection took over meanwhile.
    const isOther = this.#session !== session && this.#current === undefined
    if (this.#session !== undefined && isOther) void this.#open(this.#session)
  }

  #make(session: Session, channel: Lane['channel']): Lane {
    const { onConfirmed, onRefused, onReturned, onRoom } = this.#listener
    const lane: Lane = new Lane(channel, this.#window, {
      onConfirmed,
      onRefused: (entry) => {
        this.#patience.onRefused(now())
        onRefused(entry)
        this.#renew(session, lane)
      },
      onReturned,
      onRoom,
      onEnded: (entries, end) => this.#onEnded(session, lane, entries, end),
    })
    return lane
  }

  #use(session: Session, lane: Lane): void {
    this.#failedOpenings = 0
    const old = this.#current
    this.#current = lane
    if (old?.channel.isOpen === true) {
      this.#retired.add(old)
      old.retire()
    }
    this.#listener.onOpened(session)
  }

  /**
   * A channel that first met a quorum queue without a leader refuses every later message to that queue, for ever, while
   * a fresh channel works (RabbitMQ 3.10: its session with the queue was never registered). So a channel that refuses
   * is replaced, without a stop for the others. A queue that refuses because it is full makes few of these: they back off.
   */
  #renew(session: Session, lane: Lane): void {
    if (this.#renewal !== undefined || lane !== this.#current || this.#isClosed) return
    const age = now() - lane.openedAt
    this.#renewals = age > GOOD_AGE_MS ? 1 : this.#renewals + 1
    this.#renewal = setTimeout(
      () => {
        this.#renewal = undefined
        if (lane === this.#current && session.isOpen) void this.#open(session)
      },
      Math.max(0, backoffDelay(this.#renewals, RENEWAL_PAUSE) - age),
    )
  }

  #reopen(session: Session): void {
    if (!session.isOpen || this.#isClosed || this.#reopening !== undefined) return
    this.#failedOpenings += 1
    this.#reopening = setTimeout(
      () => {
        this.#reopening = undefined
        void this.#open(session)
      },
      backoffDelay(this.#failedOpenings, REOPEN_PAUSE),
    )
  }

  #all(): readonly Lane[] {
    return this.#current === undefined ? [...this.#retired] : [this.#current, ...this.#retired]
  }

  #onEnded(session: Session, lane: Lane, entries: readonly Entry[], end: ChannelEnd): void {
    const wasCurrent = lane === this.#current
    if (wasCurrent) this.#current = undefined
    this.#retired.delete(lane)
    if (this.#isClosed) return
    if (end.isRefusal) this.#listener.onSuspect(entries, end.error)
    else this.#listener.onLost(entries, lane.wasOvertaken)
    if (!session.isOpen) return
    if (!wasCurrent) this.#listener.onRoom()
    else if (entries.length === 0) this.#reopen(session)
    else void this.#open(session)
  }

  #stopTimers(): void {
    clearTimeout(this.#renewal)
    clearTimeout(this.#reopening)
    this.#renewal = undefined
    this.#reopening = undefined
  }
}
