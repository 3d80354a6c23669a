import type { CacheNode } from './node.js'
import type { Operation, OperationKind, Payload, Reply } from './transport.js'
import { toExpiry } from './value.js'

/** A request for everything that is stored under a key, as it is stored. */
class CopyOperation implements Operation {
  readonly kind: OperationKind = 'copy'
  readonly key: string
  readonly hash: number
  readonly wantsCas = true
  readonly payload = undefined
  sentAt = 0
  readonly #onReply: (reply: Reply | undefined) => void

  constructor({ key, hash }: { readonly key: string; readonly hash: number }, onReply: (reply?: Reply) => void) {
    this.key = key
    this.hash = hash
    this.#onReply = onReply
  }

  done(reply: Reply): void {
    this.#onReply(reply)
  }

  fail(): void {
    this.#onReply(undefined)
  }
}

/**
 * The value under a key on an heir, with the rest of its life; `undefined` when there is none, when it is older than
 * the absence of one of `out`, or when the protocol does not tell how long it has to live. Never rejects. @internal
 */
export function copyFrom(
  heir: CacheNode,
  what: { readonly key: string; readonly hash: number },
  out: readonly CacheNode[],
): Promise<Payload | undefined> {
  return new Promise((resolve) => {
    heir.submit(
      new CopyOperation(what, (reply) => {
        const isUsable = reply?.status === 'value' && reply.ttlSeconds !== 0 && !reply.isLeased
        resolve(isUsable && heir.hasStoredSince(reply.cas, out) ? payloadOf(reply) : undefined)
      }),
    )
  })
}

function payloadOf({ bytes, start, end, flags, ttlSeconds }: Reply): Payload {
  const data = Buffer.from(bytes.subarray(start, end))
  return { data, size: data.length, flags, expiry: toExpiry(Math.max(0, ttlSeconds)) }
}
