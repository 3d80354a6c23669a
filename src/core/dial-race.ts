import { formatEndpoint, type Endpoint } from './endpoint.js'
import { ClosedError, ConnectError, TimeoutError, toError } from './errors.js'
import { TimeLimit } from './time-limit.js'
import { now, onAbort } from './timing.js'

/** What a {@link DialRace} needs to know. Durations are milliseconds. @internal */
export interface DialOptions<H extends { readonly endpoint: Endpoint }, C> {
  /** Opens one connection; must stop and clean up when `signal` is aborted, which never happens once it resolved. */
  readonly dial: (host: H, signal: AbortSignal) => Promise<C>
  /** Ends a connection that arrived too late to be wanted. */
  readonly discard: (connection: C) => void
  /** Longest time one attempt may take, handshake included. */
  readonly connectTimeoutMs: number
  /** A host that is silent for so long is raced by the next one. */
  readonly hedgeMs: number
  /** Told of each attempt that failed; an error is told once per attempt. */
  readonly onAttemptFailed: (host: H, error: Error) => void
}

/** A connection and the host it goes to. @internal */
export interface Connected<H, C> {
  readonly host: H
  readonly connection: C
}

/** One walk over the hosts: the first handshake that completes wins, the others are aborted or discarded. @internal */
export class DialRace<H extends { readonly endpoint: Endpoint }, C> {
  readonly errors: Error[] = []
  readonly #options: DialOptions<H, C>
  readonly #signal: AbortSignal
  /** Ends an attempt; the winner's is gone from here, its signal must not be aborted. */
  readonly #cancel = new Set<(reason: Error) => void>()
  #winner: Connected<H, C> | undefined
  #active = 0
  #wake: () => void = () => undefined

  constructor(options: DialOptions<H, C>, signal: AbortSignal) {
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
