import { formatEndpoint, type Endpoint } from './endpoint.js'
import { ClosedError, ConnectError, TimeoutError, toError } from './errors.js'
import { TimeLimit } from './time-limit.js'
import { abortReason, now, onAbort, sleep } from './timing.js'

/** What a {@link Reconnector} needs to know. Durations are milliseconds. @internal */
export interface ReconnectorOptions<H extends { readonly endpoint: Endpoint }, C> {
  /** Opens one connection; must stop and clean up when `signal` is aborted, which never happens once it resolved. */
  readonly dial: (host: H, signal: AbortSignal) => Promise<C>
  /** Ends a connection that arrived too late to be wanted. */
  readonly discard: (connection: C) => void
  /** The hosts to try in one round, in order; `last` is the one that was just lost. */
  readonly order: (last: H | undefined) => readonly H[]
  /** Longest time one attempt may take, handshake included. */
  readonly connectTimeoutMs: number
  /** A host that is silent for so long is raced by the next one. */
  readonly hedgeMs: number
  /** After a loss the first attempt waits a random part of this, so that not all clients arrive at once. */
  readonly splayMs: number
  /** Pause before round `round` (1 is the first repetition). */
  readonly roundDelay: (round: number) => number
  /**
   * True for an error that no repetition can mend; ends the first `connect` when every host of a round gave one. Asked
   * about a `ConnectError`, whose `cause` is what `dial` rejected with.
   */
  readonly isFatal?: (error: Error) => boolean
  /** Told of each attempt that failed; an error is told once per attempt. */
  readonly onAttemptFailed: (host: H, error: Error) => void
  readonly random?: () => number
}

/** A connection and the host it goes to. @internal */
export interface Connected<H, C> {
  readonly host: H
  readonly connection: C
}

/** A connection that lived shorter than this counts as another failure: a flapping host earns a pause. */
const STABLE_AFTER_MS = 1000

/**
 * The one dial loop: walks the host list until a host answers, without limit in time.
 *
 * Delays are taken per completed round, not per host, so that one dead host costs nothing. `connect()` is called for the
 * first connection and again after each loss; calling it while it runs returns the same promise.
 * @internal
 */
export class Reconnector<H extends { readonly endpoint: Endpoint }, C> {
  readonly #options: ReconnectorOptions<H, C>
  readonly #stop = new AbortController()
  readonly #random: () => number
  #running: Promise<Connected<H, C>> | undefined
  #last: Connected<H, C> | undefined
  #connectedAt = 0
  #flaps = 0

  constructor(options: ReconnectorOptions<H, C>) {
    this.#options = options
    this.#random = options.random ?? Math.random
  }

  /** A new connection. Rejects only after `close()`, or when every host refused for a reason that cannot mend. */
  connect(): Promise<Connected<H, C>> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Ends the loop; a running `connect()` rejects with `ClosedError`. */
  close(cause?: Error): void {
    this.#stop.abort(new ClosedError('connection', cause))
  }

  async #run(): Promise<Connected<H, C>> {
    const signal = this.#stop.signal
    await sleep(this.#firstDelay(), signal)
    for (let round = 1; ; round += 1) {
      const order = this.#options.order(this.#last?.host)
      const race = new DialRace(this.#options, signal)
      const winner = await race.run(order)
      if (signal.aborted) {
        if (winner !== undefined) this.#options.discard(winner.connection)
        throw abortReason(signal)
      }
      if (winner !== undefined) {
        this.#last = winner
        this.#connectedAt = now()
        return winner
      }
      const { isFatal } = this.#options
      if (isFatal !== undefined && this.#last === undefined && race.errors.every((error) => isFatal(error))) {
        throw race.errors.at(-1) ?? new Error('bug: a round without hosts')
      }
      await sleep(this.#options.roundDelay(round), signal)
    }
  }

  #firstDelay(): number {
    if (this.#last === undefined) return 0
    this.#flaps = now() - this.#connectedAt < STABLE_AFTER_MS ? this.#flaps + 1 : 0
    const hosts = Math.max(1, this.#options.order(undefined).length)
    const rounds = Math.floor(this.#flaps / hosts)
    return this.#random() * this.#options.splayMs + (rounds === 0 ? 0 : this.#options.roundDelay(rounds))
  }
}

/** One walk over the hosts: the first handshake that completes wins, the others are aborted or discarded. */
class DialRace<H extends { readonly endpoint: Endpoint }, C> {
  readonly errors: Error[] = []
  readonly #options: ReconnectorOptions<H, C>
  readonly #signal: AbortSignal
  /** Ends an attempt; the winner's is gone from here, its signal must not be aborted. */
  readonly #cancel = new Set<(reason: Error) => void>()
  #winner: Connected<H, C> | undefined
  #active = 0
  #wake: () => void = () => undefined

  constructor(options: ReconnectorOptions<H, C>, signal: AbortSignal) {
    this.#options = options
    this.#signal = signal
  }

  async run(hosts: readonly H[]): Promise<Connected<H, C> | undefined> {
    const forget = onAbort(this.#signal, () => this.#wake())
    try {
      for (const host of hosts) {
        if (this.#isOver()) break
        const failuresBefore = this.errors.length
        void this.#attempt(host)
        await this.#until(() => this.#isOver() || this.errors.length > failuresBefore, this.#options.hedgeMs)
      }
      await this.#until(() => this.#isOver() || this.#active === 0)
    } finally {
      forget()
      for (const cancel of this.#cancel) cancel(new ClosedError('dial'))
    }
    return this.#winner
  }

  #isOver(): boolean {
    return this.#winner !== undefined || this.#signal.aborted
  }

  async #attempt(host: H): Promise<void> {
    this.#active += 1
    try {
      const connection = await this.#dialWithin(host)
      if (this.#isOver()) this.#options.discard(connection)
      else this.#winner = { host, connection }
    } catch (error) {
      if (!this.#isOver()) {
        const failure = new ConnectError(formatEndpoint(host.endpoint), error)
        this.errors.push(failure)
        this.#options.onAttemptFailed(host, failure)
      }
    } finally {
      this.#active -= 1
      this.#wake()
    }
  }

  /** The driver's own dial may ignore its signal, so the limit does not depend on it. */
  #dialWithin(host: H): Promise<C> {
    const { connectTimeoutMs, dial, discard } = this.#options
    const controller = new AbortController()
    return new Promise<C>((resolve, reject) => {
      let settled = false
      const settle = (): void => {
        settled = true
        limit.clear()
        this.#cancel.delete(cancel)
      }
      const cancel = (reason: Error): void => {
        settle()
        reject(reason)
        controller.abort(reason)
      }
      const limit = new TimeLimit(connectTimeoutMs, () =>
        cancel(new TimeoutError('connect', connectTimeoutMs, formatEndpoint(host.endpoint))),
      )
      this.#cancel.add(cancel)
      const dialled = (async () => dial(host, controller.signal))()
      dialled.then(
        (connection) => {
          if (settled) {
            discard(connection)
            return
          }
          settle()
          resolve(connection)
        },
        (error: unknown) => {
          settle()
          reject(toError(error))
        },
      )
    })
  }

  async #until(condition: () => boolean, limitMs?: number): Promise<void> {
    const deadline = limitMs === undefined ? Infinity : now() + limitMs
    while (!condition() && now() < deadline) {
      await new Promise<void>((resolve) => {
        const timer = limitMs === undefined ? undefined : setTimeout(resolve, Math.max(0, deadline - now()))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

/**
 * The order of one round: `round-robin` starts after the host that was just lost, `shuffle` is random with the lost
 * host last. @internal
 */
export function dialOrder<H>(
  hosts: readonly H[],
  last: H | undefined,
  strategy: 'shuffle' | 'round-robin',
  random: () => number = Math.random,
): readonly H[] {
  const at = last === undefined ? -1 : hosts.indexOf(last)
  if (strategy === 'round-robin') return [...hosts.slice(at + 1), ...hosts.slice(0, at + 1)]
  const others = hosts.filter((host) => host !== last)
  for (let i = others.length - 1; i > 0; i -= 1) {
    const j = Math.floor(random() * (i + 1))
    const swapped = others[i] as H
    others[i] = others[j] as H
    others[j] = swapped
  }
  return at < 0 ? others : [...others, last as H]
}
