import { DialRace, type Connected, type DialOptions } from './dial-race.js'
import type { Endpoint } from './endpoint.js'
import { ClosedError, NoEndpointError } from './errors.js'
import { abortReason, now, sleep } from './timing.js'

export type { Connected } from './dial-race.js'

/** What a {@link Reconnector} needs to know. Durations are milliseconds. @internal */
export interface ReconnectorOptions<H extends { readonly endpoint: Endpoint }, C> extends DialOptions<H, C> {
  /** The hosts to try in one round, in order; `last` is the one that was just lost. */
  readonly order: (last: H | undefined) => readonly H[]
  /** After a loss the first attempt waits a random part of this, so that not all clients arrive at once. */
  readonly splayMs: number
  /** Pause before round `round` (1 is the first repetition), when every attempt of the round before gave `errors`. */
  readonly roundDelay: (round: number, errors: readonly Error[]) => number
  /** Rounds that may fail in a row before `connect` rejects with `NoEndpointError`. @default Infinity */
  readonly maxRounds?: number
  /**
   * True for an error that no repetition can mend; ends the first `connect` when every host of a round gave one. Asked
   * about a `ConnectError`, whose `cause` is what `dial` rejected with.
   */
  readonly isFatal?: (error: Error) => boolean
  readonly random?: () => number
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
  #pause: AbortController | undefined

  constructor(options: ReconnectorOptions<H, C>) {
    this.#options = options
    this.#random = options.random ?? Math.random
  }

  /** A new connection. Rejects after `close()`, after `maxRounds`, or when every host refused for good. */
  connect(): Promise<Connected<H, C>> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  /** Takes note of a connection that came from elsewhere: the next loss is that one's. */
  adopt(last: Connected<H, C>): void {
    this.#last = last
    this.#connectedAt = now()
  }

  /** Ends the pause between two rounds. */
  hurry(): void {
    this.#pause?.abort()
  }

  /** The hosts are others now: ends the pause, and a connection that was short because of that earns none. */
  renew(): void {
    this.#connectedAt = -Infinity
    this.hurry()
  }

  /** Ends the loop; a running `connect()` rejects with `ClosedError`. */
  close(cause?: Error): void {
    this.#stop.abort(new ClosedError('connection', cause))
    this.#pause?.abort()
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
      const { isFatal, maxRounds = Infinity, roundDelay } = this.#options
      const isFirst = this.#last === undefined && race.errors.length > 0
      const isHopeless = isFatal !== undefined && isFirst && race.errors.every(isFatal)
      if (isHopeless) throw race.errors.at(-1) ?? new Error('bug: a round without hosts')
      if (round >= maxRounds) throw new NoEndpointError(`no host answered in ${round} rounds`, race.errors)
      await this.#rest(roundDelay(round, race.errors))
    }
  }

  async #rest(ms: number): Promise<void> {
    this.#pause = new AbortController()
    await sleep(ms, this.#pause.signal).catch(() => undefined)
    this.#pause = undefined
    if (this.#stop.signal.aborted) throw abortReason(this.#stop.signal)
  }

  #firstDelay(): number {
    if (this.#last === undefined) return 0
    this.#flaps = now() - this.#connectedAt < STABLE_AFTER_MS ? this.#flaps + 1 : 0
    const hosts = Math.max(1, this.#options.order(undefined).length)
    const rounds = Math.floor(this.#flaps / hosts)
    return this.#random() * this.#options.splayMs + (rounds === 0 ? 0 : this.#options.roundDelay(rounds, []))
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
