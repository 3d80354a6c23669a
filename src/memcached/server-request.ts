import type { CacheNode } from './node.js'
import type { Operation, OperationKind, Reply, TransportFailure } from './transport.js'

/** A request that concerns a whole server; no other can answer for it. */
class ServerRequest implements Operation {
  readonly kind: OperationKind
  readonly key = ''
  readonly hash = 0
  readonly wantsCas = false
  readonly payload = undefined
  sentAt = 0
  readonly #onText: (text: string) => void
  readonly #onError: (error: Error) => void

  constructor(kind: OperationKind, onText: (text: string) => void, onError: (error: Error) => void) {
    this.kind = kind
    this.#onText = onText
    this.#onError = onError
  }

  done({ error, bytes, start, end }: Reply): void {
    if (error === undefined) this.#onText(bytes.toString('latin1', start, end))
    else this.#onError(error)
  }

  fail({ error }: TransportFailure): void {
    this.#onError(error)
  }
}

/** Asks one server, which must be in use. @internal */
export function askServer(node: CacheNode, kind: 'flush' | 'version' | 'stats'): Promise<string> {
  return new Promise((resolve, reject) => node.submit(new ServerRequest(kind, resolve, reject)))
}

/** The statistics of one server, from lines of a name and a value. @internal */
export function parseStats(text: string): Readonly<Record<string, string>> {
  const pairs = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)] as const)
  return Object.freeze(Object.fromEntries(pairs))
}
