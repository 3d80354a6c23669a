import { InvalidOptionError } from '../../core/errors.js'
import { NoSuchMethodError, UnsupportedVersionError } from './errors.js'
import { DISPATCHER_MODULE } from './failure.js'
import { checkName } from './target.js'
import { checkVersion, isCompatible } from './version.js'

/**
 * Methods that a server offers: a plain object or an instance of a class. Its functions are called with the caller's
 * context and the arguments, by name. Names that begin with `_` cannot be called.
 *
 * A property `target` gives the namespace and the version that it serves; without one it serves no namespace, and the
 * version of the server's target (1.0 by default).
 */
export type RpcEndpoint = object

/** What an endpoint serves: its property `target`. */
export interface EndpointTarget {
  readonly namespace?: string | undefined
  readonly version?: string | undefined
}

/** A method that was found. @internal */
export type RpcMethod = (context: Record<string, unknown>, args: Readonly<Record<string, unknown>>) => unknown

/** What a request asks for. @internal */
export interface Wanted {
  readonly method: string
  readonly namespace: string | undefined
  readonly version: string
}

interface Served {
  readonly endpoint: RpcEndpoint
  readonly namespace: string | undefined
  readonly version: string
}

const DEFAULT_VERSION = '1.0'

/** Finds the method for a request: in the first endpoint of its namespace and version that has it. @internal */
export class Dispatcher {
  readonly #served: readonly Served[]

  constructor(endpoints: RpcEndpoint | readonly RpcEndpoint[], defaultVersion: string | undefined) {
    const list = (Array.isArray(endpoints) ? endpoints : [endpoints]) as readonly unknown[]
    if (list.length === 0) throw new InvalidOptionError('endpoints', 'must have at least one endpoint')
    this.#served = list.map((endpoint) => toServed(endpoint, defaultVersion ?? DEFAULT_VERSION))
  }

  /** Throws `UnsupportedVersionError` or `NoSuchMethodError` as oslo.messaging's dispatcher does. */
  find({ method, namespace, version }: Wanted): RpcMethod {
    const fitting = this.#served.filter((one) => one.namespace === namespace && isCompatible(one.version, version))
    for (const { endpoint } of fitting) {
      const found = methodOf(endpoint, method)
      if (found !== undefined) return found
    }
    throw fitting.length > 0 ? noSuchMethod(method) : unsupportedVersion(version, method)
  }
}

/** The function of this name that `endpoint` itself has, or its class. @internal */
export function methodOf(endpoint: object, name: string): RpcMethod | undefined {
  if (name.startsWith('_') || name === 'constructor') return undefined
  for (let owner: unknown = endpoint; isOwner(owner); owner = Object.getPrototypeOf(owner)) {
    if (!Object.hasOwn(owner, name)) continue
    const method = (endpoint as Record<string, unknown>)[name]
    return typeof method === 'function' ? (method.bind(endpoint) as RpcMethod) : undefined
  }
  return undefined
}

/** What every object has is nobody's method. */
function isOwner(value: unknown): value is object {
  return typeof value === 'object' && value !== null && value !== Object.prototype
}

function toServed(endpoint: unknown, defaultVersion: string): Served {
  if (typeof endpoint !== 'object' || endpoint === null) {
    throw new InvalidOptionError('endpoints', 'must be objects with methods')
  }
  const { target } = endpoint as { target?: EndpointTarget | (() => unknown) }
  if (target === undefined || typeof target === 'function') {
    return { endpoint, namespace: undefined, version: defaultVersion }
  }
  if (target.namespace !== undefined) checkName('target.namespace', target.namespace)
  checkVersion('target.version', target.version)
  return { endpoint, namespace: target.namespace, version: target.version ?? DEFAULT_VERSION }
}

function noSuchMethod(method: string): NoSuchMethodError {
  return new NoSuchMethodError({
    remoteClass: 'NoSuchMethod',
    remoteModule: DISPATCHER_MODULE,
    remoteMessage: `Endpoint does not support RPC method ${method}`,
  })
}

function unsupportedVersion(version: string, method: string): UnsupportedVersionError {
  return new UnsupportedVersionError({
    remoteClass: 'UnsupportedVersion',
    remoteModule: DISPATCHER_MODULE,
    remoteMessage: `Endpoint does not support RPC version ${version}. Attempted method: ${method}`,
  })
}
