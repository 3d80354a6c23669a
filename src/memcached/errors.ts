import { HAError } from '../core/errors.js'

/** A key that memcached cannot hold, and that the options do not allow to be hashed. */
export class KeyError extends HAError {
  readonly code = 'HA_KEY'
  override readonly safeToRetry = true

  constructor(problem: string) {
    super(`key ${problem}`)
  }
}

/** A value over the size limit was refused; what the cache held under the key has been deleted, so that it is not served. */
export class ValueTooLargeError extends HAError {
  readonly code = 'HA_VALUE_TOO_LARGE'

  constructor(detail: string, cause?: unknown) {
    super(`value is too large: ${detail}`, cause === undefined ? undefined : { cause })
  }
}

/** A healthy node refused one operation (out of memory, too many connections): the operation failed, the node stays in use. */
export class ServerBusyError extends HAError {
  readonly code = 'HA_SERVER_BUSY'
  /** `host:port` of the node. */
  readonly endpoint: string

  constructor(endpoint: string, answer: string) {
    super(`${endpoint} refused: ${answer}`)
    this.endpoint = endpoint
  }
}

/** A server, or another client's value, does not follow the protocol. */
export class ProtocolError extends HAError {
  readonly code = 'HA_PROTOCOL'

  constructor(problem: string, cause?: unknown) {
    super(problem, cause === undefined ? undefined : { cause })
  }
}

/** A node refused the user name or the password, or wants one: it is not used until it takes them. */
export class AuthenticationError extends HAError {
  readonly code = 'HA_AUTHENTICATION'
  override readonly safeToRetry = true
  /** `host:port` of the node. */
  readonly endpoint: string

  constructor(endpoint: string, cause?: unknown) {
    super(`${endpoint} refused the user or the password`, cause === undefined ? undefined : { cause })
    this.endpoint = endpoint
  }
}

/** A server that does not know the meta protocol. @internal */
export class UnknownCommandError extends ProtocolError {}
