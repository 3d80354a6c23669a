import { busyReply, MAX_PENDING } from './connection.js'
import { ControlOperation } from './control.js'
import { AuthenticationError, UnknownCommandError } from './errors.js'
import { openMemjsTransport } from './memjs-driver.js'
import { openMetaTransport } from './meta-driver.js'
import type {
  Operation,
  Transport,
  TransportEvents,
  TransportFactory,
  TransportFailure,
  TransportOptions,
} from './transport.js'

/**
 * A connection that finds out which protocol its server speaks: the meta protocol, or the binary one for a server that
 * answers `mn` with `ERROR`. Requests wait until that is known.
 */
class AutoTransport implements Transport {
  readonly #options: TransportOptions
  readonly #events: TransportEvents
  #inner: Transport
  #held: Operation[] = []
  #isDecided = false
  #failure: TransportFailure | undefined

  constructor(options: TransportOptions, events: TransportEvents) {
    this.#options = options
    this.#events = events
    this.#inner = openMetaTransport(options, {
      onReady: () => undefined,
      onDown: (failure) => this.#onMetaDown(failure),
    })
    const onAnswer = (_cas: number, error: Error | undefined): void => this.#onAnswer(error)
    this.#inner.submit(new ControlOperation({ kind: 'noop' }, onAnswer, () => undefined))
  }

  get pending(): number {
    return this.#inner.pending + this.#held.length
  }

  get address(): string | undefined {
    return this.#inner.address
  }

  submit(operation: Operation): void {
    if (this.#isDecided) this.#inner.submit(operation)
    else if (this.#failure !== undefined) operation.fail(this.#failure)
    else if (this.#held.length >= MAX_PENDING) operation.done(busyReply(this.#options.server.name, MAX_PENDING))
    else this.#held.push(operation)
  }

  cut(error: Error): void {
    this.#inner.cut(error)
  }

  #onAnswer(error: Error | undefined): void {
    if (error === undefined) this.#decide()
    else this.#inner.cut(error)
  }

  #decide(): void {
    this.#isDecided = true
    this.#events.onReady()
    for (const operation of this.#held.splice(0)) this.#inner.submit(operation)
  }

  #onMetaDown(failure: TransportFailure): void {
    if (this.#isDecided || !(failure.error instanceof UnknownCommandError)) {
      this.#down(failure)
      return
    }
    this.#inner = openMemjsTransport(this.#options, {
      onReady: () => this.#decide(),
      onDown: (later) => this.#down(later),
    })
  }

  #down(failure: TransportFailure): void {
    const isRefused = failure.error instanceof AuthenticationError
    this.#failure = isRefused ? { ...failure, kind: 'lost' } : failure
    this.#events.onDown(this.#failure)
    for (const operation of this.#held.splice(0)) operation.fail(this.#failure)
  }
}

/** Connects with the protocol that the server knows. @internal */
export const openAutoTransport: TransportFactory = (options, events) => new AutoTransport(options, events)
