import { ConnectionLostError, TimeoutError, toError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import type { Channel, ChannelEnd } from './channel.js'
import { isEntityError } from './classify.js'
import type { Entry } from './entry.js'
import { Lane } from './lane.js'
import type { Session } from './session.js'
import type { Topology } from './topology.js'

/** Told what becomes of the messages that are sent with care. @internal */
export interface CarefulListener {
  readonly onConfirmed: (entry: Entry) => void
  readonly onRefused: (entry: Entry) => void
  readonly onReturned: (entry: Entry) => void
  /** The broker closed the channel for this message, or refused to declare its exchange. */
  readonly onFailed: (entry: Entry, error: Error) => void
  /** These are innocent, or could not be tried, and go the ordinary way. */
  readonly onCleared: (entries: readonly Entry[]) => void
}

/** An exchange that was refused stays suspect for so long after the last refusal. */
const SUSPICION_MS = 10_000
const MAX_SUSPECT_EXCHANGES = 1000
/** A node may wait for a frozen one before it answers: others have their turn then. */
const DECLARE_LIMIT_MS = 5000

const ONE_AT_A_TIME = Object.freeze({ size: 1, onRoundTrip: () => undefined })

type Outcome = { readonly is: 'settled' } | { readonly is: 'ended'; readonly end: ChannelEnd }

/**
 * Sends messages one at a time on a channel of their own, where the broker's refusal can only mean the one in flight.
 *
 * The broker answers a publish to an unknown exchange by closing the channel, without saying which message it was. Here
 * go the messages that may have been it, those to an exchange that was just refused, so that a publisher that goes on
 * and on harms nobody else, and the first ones to an exchange that has to be declared before.
 * @internal
 */
export class Careful {
  readonly #topology: Topology
  readonly #listener: CarefulListener
  /** In order; `true` for those that only their exchange makes suspect. */
  readonly #queue = new Map<Entry, boolean>()
  /** Until when an exchange is suspect. */
  readonly #suspicious = new Map<string, number>()
  /** Exchanges to declare that were seen to exist on a session of this transport. */
  readonly #declared = new Set<string>()
  /** Bindings that are being restored, for exchanges that were missing. */
  readonly #restoring = new Map<string, { readonly session: Session; readonly done: Promise<void> }>()
  #session: Session | undefined
  #lane: Lane | undefined
  #onOutcome: (outcome: Outcome) => void = () => undefined
  #isRunning = false
  #isTrying = false

  constructor(topology: Topology, listener: CarefulListener) {
    this.#topology = topology
    this.#listener = listener
  }

  /** True while the broker owes a confirmation, or the answer to a declaration. */
  get isWaiting(): boolean {
    return this.#isTrying
  }

  /** True for a message that should not share a channel with others. */
  wants({ letter: { exchange } }: Entry): boolean {
    const until = this.#suspicious.get(exchange)
    if (until !== undefined && until > now()) return true
    this.#suspicious.delete(exchange)
    return this.#topology.isPublishedTo(exchange) && !this.#declared.has(exchange)
  }

  add(entry: Entry): void {
    this.#queue.set(entry, true)
    void this.#run()
  }

  /** One of these closed the channel, and nobody knows which. */
  suspect(entries: readonly Entry[]): void {
    for (const entry of entries) this.#queue.set(entry, false)
    void this.#run()
  }

  /** This exchange was refused, and these were on their way to it. */
  suspectExchange(exchange: string, entries: readonly Entry[]): void {
    this.#declared.delete(exchange)
    if (this.#suspicious.size < MAX_SUSPECT_EXCHANGES) this.#suspicious.set(exchange, now() + SUSPICION_MS)
    for (const entry of entries) this.#queue.set(entry, true)
    void this.#run()
  }

  attach(session: Session): void {
    this.#session = session
    void this.#run()
  }

  /** Goes on after the broker took messages again. */
  wake(): void {
    void this.#run()
  }

  /** Gives the channel up when it leaves its message without a verdict; the message is sent again on a fresh one. */
  giveUpNeglectful(isNeglectful: (lane: Lane) => boolean): void {
    if (this.#lane !== undefined && isNeglectful(this.#lane)) this.#lane.channel.dismiss()
  }

  close(): void {
    this.#queue.clear()
    this.#session = undefined
    this.#lane?.channel.dismiss()
  }

  async #run(): Promise<void> {
    if (this.#isRunning) return
    this.#isRunning = true
    try {
      for (let entry = this.#next(); entry !== undefined; entry = this.#next()) await this.#try(entry)
    } finally {
      this.#isRunning = false
    }
  }

  #next(): Entry | undefined {
    const session = this.#session
    if (session?.isOpen !== true || session.blockedReason !== undefined) return undefined
    for (const entry of this.#queue.keys()) {
      if (!entry.isSettled) return entry
      this.#queue.delete(entry)
      this.#listener.onCleared([entry])
    }
    this.#lane?.channel.dismiss()
    return undefined
  }

  async #try(entry: Entry): Promise<void> {
    const session = this.#session as Session
    this.#isTrying = true
    try {
      const lane = await this.#openLane(session)
      await this.#declare(session, lane.channel, entry.letter.exchange)
      if (entry.isSettled || !this.#queue.has(entry)) return
      await this.#send(lane, entry)
    } catch (error) {
      const failure = this.#lane?.channel.ending.value?.error ?? toError(error)
      if (!session.isOpen) return
      if (failure instanceof TimeoutError) {
        this.#lane?.channel.dismiss()
        this.#putLast(entry)
        // What was not restored now is restored before the next message.
        const { exchange } = entry.letter
        if (this.#suspicious.has(exchange)) this.#suspicious.set(exchange, now() + SUSPICION_MS)
        return
      }
      if (!isEntityError(failure)) {
        // A connection that was lost says nothing about the message.
        session.cut(new ConnectionLostError(session.host.name, failure.message, { cause: failure }))
        return
      }
      this.#topology.removeExchange(entry.letter.exchange)
      this.#fail(entry, failure)
    } finally {
      this.#isTrying = false
    }
  }

  #putLast(entry: Entry): void {
    const isExchangeOnly = this.#queue.get(entry)
    if (isExchangeOnly === undefined) return
    this.#queue.delete(entry)
    this.#queue.set(entry, isExchangeOnly)
  }

  /** Bindings are declared only for an exchange that was missing: to repeat one that exists may take a minute. */
  async #declare(session: Session, channel: Channel, exchange: string): Promise<void> {
    if (this.#declared.has(exchange) || this.#topology.exchangeType(exchange) === undefined) return
    const declare = async (): Promise<void> => {
      await this.#topology.declareExchange(channel, exchange)
      if (this.#suspicious.has(exchange)) await this.#restore(session, exchange)
    }
    const late = (elapsedMs: number): Error =>
      new TimeoutError('operation', elapsedMs, `declare exchange '${exchange}'`)
    await waitWithin(declare(), { timeoutMs: DECLARE_LIMIT_MS }, late)
    this.#declared.add(exchange)
  }

  /** What is on its way already is waited for, and not asked once more. */
  async #restore(session: Session, exchange: string): Promise<void> {
    let restoring = this.#restoring.get(exchange)
    if (restoring?.session !== session) {
      restoring = { session, done: this.#topology.restoreBindings(session, exchange) }
      this.#restoring.set(exchange, restoring)
    }
    await restoring.done
    if (this.#restoring.get(exchange) === restoring) this.#restoring.delete(exchange)
    // It stops when the connection ends, and the next one has to begin anew.
    if (session.ending.value !== undefined) throw session.ending.value
  }

  async #send(lane: Lane, entry: Entry): Promise<void> {
    const outcome = new Promise<Outcome>((resolve) => {
      this.#onOutcome = resolve
    })
    try {
      lane.send(entry)
    } catch (error) {
      this.#fail(entry, toError(error))
      return
    }
    const result = await outcome
    if (result.is === 'settled') this.#clear(entry)
    else if (result.end.isRefusal) this.#fail(entry, result.end.error)
  }

  /** The exchange exists: whoever was only suspect because of it goes the ordinary way. */
  #clear(entry: Entry): void {
    const { exchange } = entry.letter
    this.#suspicious.delete(exchange)
    this.#queue.delete(entry)
    this.#release((other, isExchangeOnly) => isExchangeOnly && other.letter.exchange === exchange)
  }

  /** The culprit is found: those that were suspect for want of a better one are innocent. */
  #fail(entry: Entry, error: Error): void {
    const isExchangeOnly = this.#queue.get(entry)
    this.#queue.delete(entry)
    const { exchange } = entry.letter
    this.#declared.delete(exchange)
    if (isExchangeOnly === true) this.#suspicious.set(exchange, now() + SUSPICION_MS)
    this.#listener.onFailed(entry, error)
    if (isExchangeOnly === false) this.#release((_, otherIsExchangeOnly) => !otherIsExchangeOnly)
  }

  #release(isInnocent: (entry: Entry, isExchangeOnly: boolean) => boolean): void {
    const innocent = [...this.#queue].filter(([entry, isExchangeOnly]) => isInnocent(entry, isExchangeOnly))
    for (const [entry] of innocent) this.#queue.delete(entry)
    if (innocent.length > 0) this.#listener.onCleared(innocent.map(([entry]) => entry))
  }

  async #openLane(session: Session): Promise<Lane> {
    if (this.#lane?.channel.isOpen === true) return this.#lane
    this.#lane = undefined
    const channel: Channel = await session.openConfirmChannel()
    const settled = (entry: Entry, tell: (entry: Entry) => void): void => {
      tell(entry)
      this.#onOutcome({ is: 'settled' })
    }
    this.#lane = new Lane(channel, ONE_AT_A_TIME, {
      onConfirmed: (entry) => settled(entry, this.#listener.onConfirmed),
      onRefused: (entry) => settled(entry, this.#listener.onRefused),
      onReturned: this.#listener.onReturned,
      onRoom: () => undefined,
      onEnded: (_, end) => this.#onOutcome({ is: 'ended', end }),
    })
    return this.#lane
  }
}
