import { backoffDelay } from '../../core/backoff.js'
import { TimeoutError } from '../../core/errors.js'
import { waitWithin } from '../../core/time-limit.js'
import { abortReason, now, sleep } from '../../core/timing.js'
import { isEntityError, replyCode } from '../classify.js'
import { ATTEMPT_HEADER, type Letter, type Wait } from '../entry.js'
import { QueueKindError, UnroutableError } from '../errors.js'
import type { Session } from '../session.js'
import type { Declarer } from './declarer.js'
import { CONTENT_TYPE, encode, type Payload } from './envelope.js'
import type { TransportPort } from './port.js'
import type { ExchangeSpec, QueueSpec } from './queues.js'

/** A message on its way out. @internal */
export interface Outgoing {
  /** What has to exist before: an exchange, a queue with its exchange, or nothing for the default exchange. */
  readonly to: { readonly exchange: ExchangeSpec } | { readonly queue: QueueSpec } | undefined
  readonly routingKey: string
  readonly payload: Payload
  /** Its `_unique_id`. */
  readonly id: string
  /** True to hear of a message that reaches no queue. */
  readonly mandatory: boolean
  readonly expirationMs?: number | undefined
  /** True for the notification format without an envelope. */
  readonly isBare?: boolean
  /** False for what must not be sent twice, even when it is unknown whether it arrived. */
  readonly isRepeatable: boolean
}

const RETRY = Object.freeze({ initialMs: 50, factor: 2, maxMs: 1000 })
const MAX_DECLARED = 10_000

/** A message as it goes to the broker; `attempt` marks a copy. @internal */
export function toLetter(out: Outgoing, port: TransportPort, attempt = 1): Letter {
  const { content, headers } = encode(out.payload, port.options.kombuCompression, out.isBare)
  return {
    exchange: exchangeOf(out.to),
    routingKey: out.routingKey,
    content,
    isRepeatable: out.isRepeatable,
    properties: {
      mandatory: out.mandatory,
      persistent: true,
      messageId: out.id,
      headers: attempt === 1 ? headers : { ...headers, [ATTEMPT_HEADER]: attempt },
      contentType: CONTENT_TYPE,
      contentEncoding: 'utf-8',
      priority: 0,
      expiration: out.expirationMs === undefined ? undefined : String(Math.ceil(out.expirationMs)),
    },
  }
}

/** Publishes, and declares what a message needs before the first one and whenever it turns out to be missing. @internal */
export class Sender {
  readonly #port: TransportPort
  readonly #declarer: Declarer
  /** What exists, or is being made. */
  readonly #declared = new Map<string, Promise<void> | 'done'>()

  constructor(port: TransportPort, declarer: Declarer) {
    this.#port = port
    this.#declarer = declarer
  }

  /** Resolves when the broker confirmed the message; rejects as `publish` does. */
  async send(out: Outgoing, wait: Wait, letter: Letter = toLetter(out, this.#port)): Promise<void> {
    const startedAt = now()
    const key = keyOf(out)
    try {
      await this.#sendOnce(out, letter, key, wait)
    } catch (error) {
      if (key === undefined || !isMissing(out, error)) throw error
      this.#declared.delete(key)
      const leftMs = Math.max(1, wait.timeoutMs - (now() - startedAt))
      await this.#sendOnce(out, letter, key, { ...wait, timeoutMs: leftMs })
    }
  }

  async #sendOnce(out: Outgoing, letter: Letter, key: string | undefined, wait: Wait): Promise<void> {
    if (wait.signal?.aborted === true) throw abortReason(wait.signal)
    const declaring = key === undefined ? 'done' : (this.#declared.get(key) ?? this.#startDeclaring(out, key))
    let { timeoutMs } = wait
    if (declaring !== 'done') {
      const startedAt = now()
      const late = (elapsedMs: number): Error =>
        new TimeoutError('operation', elapsedMs, `declaring ${key}`, undefined, true)
      await waitWithin(declaring, wait, late)
      timeoutMs = Math.max(1, timeoutMs - (now() - startedAt))
    }
    await this.#port.publish(letter, { timeoutMs, signal: wait.signal })
  }

  #startDeclaring(out: Outgoing, key: string): Promise<void> {
    if (this.#declared.size >= MAX_DECLARED) this.#declared.clear()
    const work = this.#declare(out)
    this.#declared.set(key, work)
    work.then(
      () => {
        if (this.#declared.get(key) === work) this.#declared.set(key, 'done')
      },
      () => {
        if (this.#declared.get(key) === work) this.#declared.delete(key)
      },
    )
    return work
  }

  /** Its result is for all who wait for the same, so none of their limits ends it. */
  async #declare({ to }: Outgoing): Promise<void> {
    if (to === undefined) return
    const stop = new AbortController()
    for (let attempt = 1; ; attempt += 1) {
      let session: Session | undefined
      try {
        session = await this.#port.session(stop.signal)
        if ('exchange' in to) await this.#declarer.exchange(session, to.exchange)
        else await this.#declarer.queue(session, to.queue)
        return
      } catch (error) {
        if (session === undefined || isEntityError(error) || error instanceof QueueKindError) throw error
      }
      await sleep(backoffDelay(attempt, RETRY))
    }
  }
}

function exchangeOf(to: Outgoing['to']): string {
  if (to === undefined) return ''
  return ('exchange' in to ? to.exchange : to.queue.bindings[0]?.exchange)?.name ?? ''
}

function keyOf({ to }: Outgoing): string | undefined {
  if (to === undefined) return undefined
  return 'exchange' in to ? `exchange '${to.exchange.name}'` : `queue '${to.queue.name}'`
}

/** True when what the message needs was there and is gone. */
function isMissing({ to }: Outgoing, error: unknown): boolean {
  if (to === undefined) return false
  return replyCode(error) === 404 || ('queue' in to && error instanceof UnroutableError)
}
