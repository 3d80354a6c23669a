import { HAError, TimeoutError } from '../../core/errors.js'

/** What a {@link RemoteError} tells of the exception on the other side, by Python's names. */
export interface RemoteFailure {
  /** Name of the exception's class, such as `InstanceNotFound`. */
  readonly remoteClass: string
  /** Its module, such as `nova.exception`; a Python caller raises the class itself when it allows the module. @default 'node' */
  readonly remoteModule?: string
  /** Its text. */
  readonly remoteMessage: string
  /** @default [] */
  readonly remoteTraceback?: readonly string[]
  /** Arguments of the exception's constructor. @default the message */
  readonly args?: readonly unknown[]
  /** Keyword arguments of the exception's constructor. @default {} */
  readonly kwargs?: Readonly<Record<string, unknown>>
}

/**
 * An exception of the other side of a call.
 *
 * A server's method may throw one to choose what its Python callers see; any other error arrives there under its own name.
 */
export class RemoteError extends HAError {
  readonly code: 'HA_REMOTE' | 'HA_REMOTE_VERSION' | 'HA_REMOTE_METHOD' = 'HA_REMOTE'
  readonly remoteClass: string
  readonly remoteModule: string
  readonly remoteMessage: string
  readonly remoteTraceback: readonly string[]
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>

  constructor(failure: RemoteFailure) {
    super(`${failure.remoteClass}: ${failure.remoteMessage}`)
    this.remoteClass = failure.remoteClass
    this.remoteModule = failure.remoteModule ?? 'node'
    this.remoteMessage = failure.remoteMessage
    this.remoteTraceback = failure.remoteTraceback ?? []
    this.args = failure.args ?? [failure.remoteMessage]
    this.kwargs = failure.kwargs ?? {}
  }
}

/** The server has the topic, but no endpoint of the version and namespace that was asked for. Nothing was executed. */
export class UnsupportedVersionError extends RemoteError {
  override readonly code = 'HA_REMOTE_VERSION'
  override readonly safeToRetry = true
}

/** The server's endpoints have no such method. Nothing was executed. */
export class NoSuchMethodError extends RemoteError {
  override readonly code = 'HA_REMOTE_METHOD'
  override readonly safeToRetry = true
}

/**
 * No reply within the limit, or, for a monitored call, no sign of life within `callMonitorTimeoutMs`. A reply that comes
 * later is dropped.
 */
export class RpcTimeoutError extends TimeoutError {
  /** False only when the request never left, so that no server can have executed it. */
  readonly maybeExecuted: boolean

  constructor(elapsedMs: number, detail: string, maybeExecuted: boolean, cause?: unknown) {
    super('operation', elapsedMs, detail, cause, !maybeExecuted)
    this.maybeExecuted = maybeExecuted
  }
}

/** Nobody serves the topic, or the server that was named: the request reached no queue and was not executed. */
export class NoServerError extends HAError {
  readonly code = 'HA_UNROUTABLE'
  override readonly safeToRetry = true

  constructor(what: string, cause: unknown) {
    super(`nobody serves ${what}`, { cause })
  }
}

/** The client's version cap does not allow what was to be sent; nothing was sent. */
export class VersionCapError extends HAError {
  readonly code = 'HA_VERSION_CAP'
  override readonly safeToRetry = true

  constructor(version: string, cap: string) {
    super(`requests of version ${version} may not be sent: the version cap is ${cap}`)
  }
}

/**
 * A reply holds an integer beyond 2^53, which a JavaScript number would change. The transport's option `bigIntegers`
 * delivers such integers as bigints.
 */
export class UnsafeIntegerError extends HAError {
  readonly code = 'HA_UNSAFE_INTEGER'
  /** Where it is, as `result.flavor.id`. */
  readonly field: string

  constructor(field: string) {
    super(`field '${field}' is an integer beyond 2^53: set the option bigIntegers to receive it as a bigint`)
    this.field = field
  }
}

/**
 * Thrown by a server's method for a failure that is part of its interface: the caller gets the inner error, and the
 * server does not report it as a defect of its own.
 */
export class ExpectedError extends Error {
  override readonly cause: unknown

  constructor(inner: unknown) {
    super(inner instanceof Error ? inner.message : 'expected')
    this.name = 'ExpectedError'
    this.cause = inner
  }
}
