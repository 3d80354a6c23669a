import { inspect } from 'node:util'

/**
 * Stable identifiers of this package's errors; match on `code`, not on the message.
 *
 * Errors of a healthy server (a SQL error, a channel closed by 404) are not wrapped and keep the driver's own code.
 */
export type HAErrorCode =
  | 'HA_INVALID_OPTION'
  | 'HA_CLOSED'
  | 'HA_TIMEOUT'
  | 'HA_CONNECT'
  | 'HA_NO_ENDPOINT'
  | 'HA_CONNECTION_LOST'
  | 'HA_NO_WRITER'
  | 'HA_OUTCOME_UNKNOWN'
  | 'HA_TRANSACTION_ENDED'
  | 'HA_FENCE_UNAVAILABLE'
  | 'HA_STREAM_OPEN'
  | 'HA_SESSION_SETUP'
  | 'HA_BACKPRESSURE'
  | 'HA_MESSAGE_TOO_LARGE'
  | 'HA_UNROUTABLE'
  | 'HA_PUBLISH_REFUSED'
  | 'HA_ACCESS_REFUSED'
  | 'HA_QUEUE_KIND'
  | 'HA_KEY'
  | 'HA_VALUE_TOO_LARGE'
  | 'HA_SERVER_BUSY'
  | 'HA_PROTOCOL'
  | 'HA_AUTHENTICATION'
  | 'HA_REMOTE'
  | 'HA_REMOTE_VERSION'
  | 'HA_REMOTE_METHOD'
  | 'HA_VERSION_CAP'
  | 'HA_UNSAFE_INTEGER'

const brand: unique symbol = Symbol.for('openstack-ha.error')

/** Base of every error this package creates; the error of the driver or the socket below it is the `cause`. */
export abstract class HAError extends Error {
  /** Stable identifier of the kind of failure. */
  abstract readonly code: HAErrorCode
  /** True only if no byte of the operation can have reached a server, so that repeating it cannot do it twice. */
  readonly safeToRetry: boolean = false
  /** @internal */
  readonly [brand] = true

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
  }
}

/** An option, or an environment variable, has a value that cannot work; thrown synchronously by the factories. */
export class InvalidOptionError extends HAError {
  readonly code = 'HA_INVALID_OPTION'
  override readonly safeToRetry = true
  /** The option's name as given in code, or the variable's name when the value came from the environment. */
  readonly option: string

  constructor(option: string, problem: string) {
    super(`option '${option}' ${problem}`)
    this.option = option
  }
}

/** The client was closed or destroyed; `cause` is the error given to `destroy(error)`, if any. */
export class ClosedError extends HAError {
  readonly code = 'HA_CLOSED'
  override readonly safeToRetry: boolean

  constructor(what: string, cause?: unknown, safeToRetry = true) {
    super(`${what} is closed`, cause === undefined ? undefined : { cause })
    this.safeToRetry = safeToRetry
  }
}

/** What a {@link TimeoutError} was waiting for. */
export type TimeoutPhase = 'acquire' | 'connect' | 'ready' | 'operation' | 'close'

/** A wait ran out. The message carries the numbers an operator asks for first, `cause` the last failure seen. */
export class TimeoutError extends HAError {
  readonly code = 'HA_TIMEOUT'
  override readonly safeToRetry: boolean
  readonly phase: TimeoutPhase

  /** `safeToRetry` overrides what the phase says, for an operation that was never sent. */
  constructor(phase: TimeoutPhase, elapsedMs: number, detail: string, cause?: unknown, safeToRetry?: boolean) {
    super(
      `${phase} timed out after ${Math.round(elapsedMs)} ms (${detail})`,
      cause === undefined ? undefined : { cause },
    )
    this.phase = phase
    this.safeToRetry = safeToRetry ?? (phase !== 'operation' && phase !== 'close')
  }
}

/** One endpoint could not be connected to; `cause` says why. */
export class ConnectError extends HAError {
  readonly code = 'HA_CONNECT'
  override readonly safeToRetry = true
  /** `host:port` that was dialled. */
  readonly endpoint: string

  constructor(endpoint: string, cause: unknown) {
    super(`cannot connect to ${endpoint}: ${errorText(cause)}`, { cause })
    this.endpoint = endpoint
  }
}

/** No endpoint can serve the request; `errors` has the last error of each endpoint that had one. */
export class NoEndpointError extends HAError {
  readonly code = 'HA_NO_ENDPOINT'
  override readonly safeToRetry: boolean
  readonly errors: readonly Error[]

  /** `safeToRetry` is false for a request that an endpoint got before it failed. */
  constructor(what: string, errors: readonly Error[], safeToRetry = true) {
    const reasons = errors.length === 0 ? 'none was tried yet' : errors.map((error) => error.message).join('; ')
    super(`${what}: ${reasons}`, { cause: errors.at(-1) })
    this.errors = errors
    this.safeToRetry = safeToRetry
  }
}

/** An established connection ended or was cut while something depended on it. */
export class ConnectionLostError extends HAError {
  readonly code = 'HA_CONNECTION_LOST'
  override readonly safeToRetry: boolean
  /** `host:port` of the connection. */
  readonly endpoint: string

  constructor(endpoint: string, reason: string, options: { cause?: unknown; safeToRetry?: boolean } = {}) {
    super(
      `connection to ${endpoint} lost: ${reason}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.endpoint = endpoint
    this.safeToRetry = options.safeToRetry ?? false
  }
}

/** Works across copies and versions of this package, unlike `instanceof`. */
export function isHAError(error: unknown): error is HAError {
  return error instanceof Error && brand in error
}

/** Any thrown value as an `Error`. @internal */
export function toError(value: unknown): Error {
  if (value instanceof Error) return value
  // `String()` throws for objects without a prototype; depth -1 shows nothing of what an object holds.
  return new Error(typeof value === 'string' ? value : inspect(value, { depth: -1 }), { cause: value })
}

/**
 * One line for a message: an `AggregateError` (a name with several addresses) hides its reasons in `errors`. @internal
 */
export function errorText(value: unknown): string {
  if (value instanceof AggregateError && value.errors.length > 0) {
    return value.errors.map((inner) => errorText(inner)).join('; ')
  }
  const error = toError(value)
  const code = (error as { code?: unknown }).code
  return error.message !== '' ? error.message : typeof code === 'string' ? code : error.name
}
