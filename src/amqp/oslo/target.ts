import { InvalidOptionError } from '../../core/errors.js'
import { checkVersion } from './version.js'

/** Where requests go: a topic, and on it one server, all servers, or whichever is free. */
export interface RpcTarget {
  /** What the servers serve, such as `conductor`. */
  readonly topic: string
  /** One server of the topic; without it any of them. */
  readonly server?: string | undefined
  /** True for all servers of the topic at once; then nobody answers. @default false */
  readonly fanout?: boolean | undefined
  /** @default the transport's `controlExchange` */
  readonly exchange?: string | undefined
  /** Version of the interface that is asked for; a server without one serves '1.0'. */
  readonly version?: string | undefined
  /** Namespace of the interface that is asked for. */
  readonly namespace?: string | undefined
}

const TEXTS = ['topic', 'server', 'exchange', 'namespace'] as const
const KNOWN: ReadonlySet<string> = new Set([...TEXTS, 'fanout', 'version'])
const MAX_NAME = 255

/** Throws `InvalidOptionError` for a target that cannot be one. `more` are further options beside it. @internal */
export function checkTarget(target: Partial<RpcTarget>, more: readonly string[] = []): void {
  const given = target as Readonly<Record<string, unknown>>
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && !KNOWN.has(name) && !more.includes(name))
      throw new InvalidOptionError(name, 'is unknown')
  }
  for (const name of TEXTS) if (given[name] !== undefined) checkName(name, given[name])
  checkVersion('version', target.version)
}

/** Throws unless `name` can be part of the name of a queue. @internal */
export function checkName(option: string, name: unknown): void {
  if (typeof name === 'string' && name !== '' && Buffer.byteLength(name) <= MAX_NAME) return
  throw new InvalidOptionError(option, `must be a string of 1 to ${MAX_NAME} bytes`)
}
