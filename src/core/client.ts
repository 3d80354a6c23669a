import { Availability, type AvailabilityStatus } from './availability.js'
import { ClosedError, TimeoutError } from './errors.js'
import { EventSource, type CommonEvents, type EventMap, type FailoverEvent } from './events.js'
import { Lifecycle } from './lifecycle.js'
import { waitWithin, type WaitOptions } from './time-limit.js'
import { Deferred } from './timing.js'
import type { Service } from './variables.js'

/** State of a client: `closing` finishes what runs and accepts nothing new. */
export type ClientState = 'open' | 'closing' | 'closed'

/** How long `ready()` waits unless told otherwise. @internal */
export const DEFAULT_READY_TIMEOUT_MS = 30_000
const DEFAULT_CLOSE_TIMEOUT_MS = 10_000

/**
 * What the three clients have in common: a beginning, an end, readiness and the count of outages.
 *
 * The only writer of readiness is `setUsable`: a client calls it whenever it learns whether it can serve.
 */
export abstract class Client<Events extends CommonEvents & EventMap<Events>> extends EventSource<Events> {
  readonly #what: string
  readonly #availability = new Availability()
  readonly #lifecycle = new Lifecycle<ClientState>('open', {
    open: ['closing', 'closed'],
    closing: ['closed'],
    closed: [],
  })
  #readiness = new Deferred<undefined>()
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(service: Service, what: string) {
    super(service)
    this.#what = what
  }

  /** Finishes what runs, for `timeoutMs` (10 s) at most, and rejects the rest with `ClosedError`. Never rejects. */
  close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(options.timeoutMs ?? DEFAULT_CLOSE_TIMEOUT_MS)
    return this.#closing
  }

  /** Ends at once: everything that runs or waits rejects with a `ClosedError` whose cause is `error`. */
  destroy(error?: Error): void {
    if (this.#lifecycle.state === 'closed') return
    const reason = new ClosedError(this.#what, error, false)
    this.#lifecycle.enter('closed', error)
    this.#readiness.reject(reason)
    this.teardown(reason)
  }

  /** {@link Client.close} with its defaults, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Waits until a host is usable: at once when one is.
   *
   * Rejects with `TimeoutError` (default limit 30 s, `cause` says what each host answered), with the signal's reason,
   * with `ClosedError`, or with the servers' refusal when no waiting can mend it (a wrong password on every host).
   */
  async ready(options: WaitOptions = {}): Promise<void> {
    this.assertOpen()
    const { timeoutMs = DEFAULT_READY_TIMEOUT_MS, signal } = options
    await waitWithin(this.#readiness.promise, { timeoutMs, signal }, (elapsedMs) => {
      const cause = this.whyUnusable()
      return new TimeoutError('ready', elapsedMs, cause.message, cause)
    })
  }

  /** Open, closing or closed. */
  protected get state(): ClientState {
    return this.#lifecycle.state
  }

  protected availability(): AvailabilityStatus {
    return this.#availability.snapshot()
  }

  /** Throws `ClosedError` unless new work is welcome. */
  protected assertOpen(): void {
    if (this.#lifecycle.state !== 'open') throw new ClosedError(this.#what, this.#lifecycle.cause)
  }

  /** Records whether the client can serve, and reports the beginning and the end of an outage. */
  protected setUsable(usable: boolean, cause?: Error): void {
    if (this.#lifecycle.state === 'closed') return
    if (usable) {
      const elapsedMs = this.#availability.up()
      this.#readiness.resolve(undefined)
      if (elapsedMs !== undefined) this.report('outageEnd', { elapsedMs })
      return
    }
    if (this.#readiness.settled) this.#readiness = new Deferred()
    if (this.#availability.down()) this.report('outageStart', { cause })
  }

  /** Rejects those who wait in `ready()` for something that waiting cannot mend; later calls wait anew. */
  protected failReadiness(error: Error): void {
    if (this.#lifecycle.state === 'closed' || this.#readiness.settled) return
    this.#readiness.reject(error)
    this.#readiness = new Deferred()
  }

  protected reportFailover(event: FailoverEvent): void {
    this.#availability.failover(event)
    this.report('failover', event)
  }

  /** What keeps the client from serving, with each host's last error; `cause` of the time-out of `ready()`. */
  protected abstract whyUnusable(): Error

  /** Resolves when everything that runs has ended. It may stay pending: `close` bounds it. */
  protected abstract drain(): Promise<void>

  /** Rejects what is left with `reason`, cuts connections, clears timers. Synchronous, called once. */
  protected abstract teardown(reason: ClosedError): void

  async #close(timeoutMs: number): Promise<void> {
    if (this.#lifecycle.state === 'closed') return
    this.#lifecycle.enter('closing')
    const late = (elapsedMs: number): Error => new TimeoutError('close', elapsedMs, this.#what)
    const cause = await waitWithin(this.drain(), { timeoutMs }, late).then(
      () => undefined,
      (error: unknown) => error as Error,
    )
    this.destroy(cause)
  }
}
