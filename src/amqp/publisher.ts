import { Deadlines } from '../core/deadlines.js'
import { toError } from '../core/errors.js'
import { now } from '../core/timing.js'
import { Careful } from './careful.js'
import { refusedExchange } from './classify.js'
import type { Counters } from './counters.js'
import { Entry, type EntryOwner, type Letter, type Wait } from './entry.js'
import type { Lane } from './lane.js'
import { Lanes } from './lanes.js'
import { Outbox } from './outbox.js'
import { Refused } from './refused.js'
import type { Session } from './session.js'
import type { Topology } from './topology.js'
import { Warming } from './warming.js'

/**
 * After a reconnect a node may not know its queues yet: after a restart of all nodes it took seconds in which messages
 * came back as unroutable. For so long they are sent again instead.
 */
const RECOVERY_MS = 10_000
const CHECK_MS = 100
/** Refusals within this time give the same reason. */
const REASON_MS = 100

/** What the publisher gets from the transport. @internal */
export interface PublisherOptions {
  readonly maxMessages: number
  readonly maxBytes: number
  readonly topology: Topology
  readonly counters: Counters
  /** Why nothing can be sent at present. */
  readonly whyWaiting: () => Error
  /** The confirm channel is open on this session: messages go out. */
  readonly onServing: (session: Session) => void
}

/**
 * Sends messages and keeps them until the broker confirmed them, over as many connections as that takes.
 *
 * A message is sent again only when the channel that had it is gone, never on the same live channel.
 * @internal
 */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #owner: EntryOwner
  readonly #outbox: Outbox<Entry>
  readonly #lanes: Lanes
  readonly #careful: Careful
  readonly #refused = new Refused((entry) => {
    this.#outbox.append(entry)
    this.#pump()
  })
  readonly #warming = new Warming((entry) => {
    this.#outbox.putBack([entry])
    this.#pump()
  })
  readonly #check: NodeJS.Timeout
  #session: Session | undefined
  #hasServed = false
  #isPumping = false
  #reason: { readonly error: Error | undefined; readonly until: number } | undefined
  #recoveringUntil = 0
  #hasPrepared = false
  #spareRecoveringUntil = 0

  constructor(options: PublisherOptions) {
    this.#options = options
    this.#outbox = new Outbox(options.maxMessages, options.maxBytes, () => this.#pump())
    this.#owner = {
      deadlines: new Deadlines(),
      whyWaiting: options.whyWaiting,
      onSettled: (entry) => {
        // What is in flight stays in the outbox until its channel let go of it.
        if (!entry.isInFlight) this.#outbox.release(entry)
      },
    }
    const onConfirmed = (entry: Entry): void => this.#confirm(entry)
    const onRefused = (entry: Entry): void => this.#retryLater(entry)
    const onReturned = (): void => this.#countReturn()
    this.#lanes = new Lanes({
      onConfirmed,
      onRefused,
      onReturned,
      onRoom: () => this.#pump(),
      onOpened: (session) => this.#onOpened(session),
      onSuspect: (entries, error) => this.#suspect(entries, error),
      onLost: (entries, isOvertaken) => this.#onLost(entries, isOvertaken),
    })
    this.#careful = new Careful(options.topology, {
      onConfirmed,
      onRefused,
      onReturned,
      onFailed: (entry, error) => {
        entry.denied(error)
        this.#outbox.release(entry)
      },
      onCleared: (entries) => {
        this.#outbox.putBack(entries)
        this.#pump()
      },
    })
    this.#check = setInterval(() => this.#giveUpNeglectful(), CHECK_MS).unref()
  }

  get outbox(): { readonly messages: number; readonly bytes: number; readonly waiting: number } {
    return this.#outbox
  }

  /** True while the broker owes a confirmation. */
  get isWaiting(): boolean {
    return this.#lanes.isWaiting || this.#careful.isWaiting
  }

  /** Throws `BackpressureError` when a message of no length would be refused: before any work is put into one. */
  assertRoom(): void {
    const refusal = this.#outbox.refusal(0, () => this.#whyFull())
    if (refusal !== undefined) throw refusal
  }

  /** Publishes; throws `BackpressureError` at once when the outbox is full, unless the message may wait for room. */
  publish(letter: Letter, wait: Wait, mayWait = false): Promise<void> {
    const { length } = letter.content
    const refusal = this.#outbox.refusal(length, () => this.#whyFull())
    if (refusal !== undefined && !(mayWait && this.#outbox.mayWait(length))) throw refusal
    const entry = new Entry(letter, wait, this.#owner)
    this.#options.counters.published += 1
    if (refusal === undefined) {
      this.#outbox.add(entry)
      this.#pump()
    } else {
      this.#outbox.wait(entry, refusal)
    }
    return entry.promise
  }

  /** Uses a new connection. */
  attach(session: Session): void {
    if (this.#hasServed) this.#recoveringUntil = now() + RECOVERY_MS
    this.#session = session
    session.onBlocked(() => {
      if (session.blockedReason === undefined) this.#lanes.onUnblocked()
      this.#careful.wake()
      this.#pump()
    })
    session.ending.on(() => {
      if (this.#session === session) this.#session = undefined
    })
    this.#careful.attach(session)
    // What is in flight on the channel that takes over stays there.
    const held = this.#warming.abandon()
    if (held !== undefined) this.#outbox.putBack([held])
    this.#warming.stop()
    this.#lanes.attach(session, this.#hasServed, this.#warming.isWarm)
  }

  /** Uses a connection that stands by: once it is attached, its channel is ready. */
  prepare(session: Session): void {
    if (this.#hasPrepared) this.#spareRecoveringUntil = now() + RECOVERY_MS
    this.#hasPrepared = true
    void this.#lanes.prepare(session, () => this.#warming.cool())
  }

  /** Rejects what was never sent: the servers refuse us, and waiting does not mend that. */
  refuse(error: Error): void {
    for (const entry of this.#outbox.all()) if (!entry.mayBeStored) entry.settle(error)
  }

  /** Resolves when every message has its verdict. */
  async flush(): Promise<void> {
    await this.#outbox.empty()
  }

  /** Rejects everything at once; `reasonFor` is told whether the broker may have the message. */
  close(reasonFor: (mayBeStored: boolean) => Error): void {
    clearInterval(this.#check)
    this.#lanes.close()
    this.#warming.stop()
    this.#refused.close()
    this.#careful.close()
    this.#session = undefined
    // Those that wait for room first, or they would be let in by the others' end.
    for (const entry of [...this.#outbox.all()].reverse()) {
      entry.settle(reasonFor(entry.mayBeStored))
      this.#outbox.release(entry)
    }
  }

  /** Refusals come by the thousand, and share their reason: an error costs more than all else about a refusal. */
  #whyFull(): Error | undefined {
    const at = now()
    if (this.#reason === undefined || this.#reason.until < at) {
      const isSending = this.#session !== undefined && this.#session.blockedReason === undefined
      this.#reason = { error: isSending ? undefined : this.#options.whyWaiting(), until: at + REASON_MS }
    }
    return this.#reason.error
  }

  #giveUpNeglectful(): void {
    const session = this.#session
    // What the kernel has not taken yet cannot have been answered.
    if (session === undefined || session.blockedReason !== undefined || session.backlog > 0) return
    this.#careful.giveUpNeglectful((lane) => this.#lanes.isNeglectful(lane))
    this.#lanes.giveUpNeglectful()
  }

  #onOpened(session: Session): void {
    this.#hasServed = true
    this.#options.onServing(session)
    this.#refused.releaseAll()
    this.#pump()
  }

  /** What was overtaken goes behind the others: its queue may be without a leader, while theirs work. */
  #onLost(entries: readonly Entry[], isOvertaken: boolean): void {
    for (const entry of entries) this.#warming.onVerdict(entry, false)
    const held = this.#warming.abandon()
    if (held !== undefined) this.#outbox.putBack([held])
    if (isOvertaken) for (const entry of entries) this.#outbox.append(entry)
    else this.#outbox.putBack(entries)
  }

  /** The broker names the exchange it refused, or nobody: then each message in flight has to be tried alone. */
  #suspect(entries: readonly Entry[], error: Error): void {
    for (const entry of entries) this.#warming.onVerdict(entry, false)
    const exchange = refusedExchange(error)
    const named = exchange === undefined ? [] : entries.filter(({ letter }) => letter.exchange === exchange)
    if (exchange === undefined || named.length === 0) {
      this.#careful.suspect(entries)
      return
    }
    this.#outbox.putBack(entries.filter(({ letter }) => letter.exchange !== exchange))
    this.#careful.suspectExchange(exchange, named)
  }

  #pump(): void {
    // A message that fails while it is sent makes room for another one, which comes back here.
    if (this.#isPumping) return
    this.#isPumping = true
    const lane = this.#lanes.current
    while (lane?.hasRoom === true && this.#session?.blockedReason === undefined) {
      if (this.#warming.isRunning && !this.#goOnWarming()) break
      const entry = this.#outbox.take()
      if (entry === undefined) break
      if (entry.isSettled) this.#outbox.release(entry)
      else if (this.#careful.wants(entry)) this.#careful.add(entry)
      else if (this.#mayWarm() && this.#warming.wants(entry)) this.#warming.begin(entry)
      else this.#send(lane, entry)
    }
    this.#isPumping = false
  }

  #mayWarm(): boolean {
    const isUsable = this.#lanes.spare?.hasRoom === true && this.#refused.size === 0
    return isUsable && now() >= Math.max(this.#recoveringUntil, this.#spareRecoveringUntil)
  }

  /** True when the others need not wait any more. */
  #goOnWarming(): boolean {
    const { spare } = this.#lanes
    if (spare !== undefined && !this.isWaiting) this.#warming.send(spare, (lane, entry) => this.#send(lane, entry))
    return !this.#warming.isRunning
  }

  #send(lane: Lane, entry: Entry): void {
    try {
      if (entry.isRepetition) this.#options.counters.resent += 1
      lane.send(entry)
    } catch (error) {
      entry.fail(toError(error))
      this.#outbox.release(entry)
    }
  }

  #confirm(entry: Entry): void {
    this.#warming.onVerdict(entry, true)
    if (entry.wasRepeated) this.#lanes.onLateConfirm()
    if (entry.returned !== undefined && now() < this.#recoveringUntil) {
      this.#postpone(entry)
      return
    }
    if (entry.returned === undefined) this.#options.counters.confirmed += 1
    entry.confirmed()
    this.#outbox.release(entry)
  }

  /** A refusal is temporary as a rule (the queue has no leader yet, is full): tried again until the caller's limit. */
  #retryLater(entry: Entry): void {
    this.#warming.onVerdict(entry, false)
    this.#options.counters.nacked += 1
    this.#postpone(entry)
  }

  #postpone(entry: Entry): void {
    const refusals = entry.refused()
    if (entry.isSettled) this.#outbox.release(entry)
    else this.#refused.add(entry, refusals)
  }

  #countReturn(): void {
    this.#options.counters.returned += 1
  }
}
