import { AccessRefusedError, QueueKindError } from './errors.js'

/**
 * What the broker's reply codes mean for us. The code decides; the text is asked only where one code has two meanings.
 *
 * | code | AMQP name | level | what we do |
 * |---|---|---|---|
 * | 200, 320 | reply-success, connection-forced | connection | planned end: next host |
 * | 403 | access-refused | handshake | refused: no repetition mends it |
 * | 403, 404, 405, 406 | access-refused, not-found, resource-locked, precondition-failed | channel | about one entity |
 * | 530 | not-allowed | handshake | the virtual host is missing or not ours: refused |
 * | 541 | internal-error | connection | another host may be able to: next host; "is deprecated": no host ever will |
 * | 311, 501–506, 540 | errors of the protocol | both | reported, next attempt on a new channel or connection |
 */
const ENTITY_CODES: readonly unknown[] = [403, 404, 405, 406]
const REFUSED_CODES: readonly unknown[] = [403, 530]

/** The AMQP reply code of an error of amqplib, if it has one. @internal */
export function replyCode(error: unknown): number | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'number' ? code : undefined
}

/** True when the broker refused an operation on one entity, and closed nothing but the channel for it. @internal */
export function isEntityError(error: unknown): boolean {
  return ENTITY_CODES.includes(replyCode(error))
}

/** True when the queue does not exist; a queue whose node is down answers 404 too, and cannot be made again. @internal */
export function isQueueGone(error: unknown): boolean {
  return replyCode(error) === 404 && /no queue/i.test((error as Error).message)
}

/**
 * True when waiting may mend the failure: the node that has the queue is down, another owner still holds it, or the node
 * has not started its replica of a stream that was just made. It does not mend what amqplib cannot encode (`TypeError`).
 * @internal
 */
export function isTemporary(error: unknown): boolean {
  if (error instanceof QueueKindError || error instanceof TypeError) return false
  if (!isEntityError(error)) return true
  return (
    replyCode(error) === 405 ||
    /home node .* (is down|inaccessible)|is down or inaccessible|does not have a replica|timed?.?out/i.test(
      (error as Error).message,
    )
  )
}

/** The exchange that a refusal is about, when its text says so. @internal */
export function refusedExchange(error: unknown): string | undefined {
  const code = replyCode(error)
  if (code !== 403 && code !== 404) return undefined
  return /exchange '([^']*)'/.exec((error as Error).message)?.[1]
}

/** True when the broker does not allow such a queue any more: it closes the connection, with 541, for each attempt. @internal */
export function isDeprecated(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (replyCode(error) === 541 && /deprecated/i.test(error.message)) || isDeprecated(error.cause)
}

/** True when the host lost its connection because it cannot answer now, as a node in a minority: another one may. @internal */
export function isUnable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (replyCode(error) === 541 && !isDeprecated(error)) || isUnable(error.cause)
}

/** Where a handshake failed, and who asked. @internal */
export interface HandshakeTarget {
  /** `host:port`. */
  readonly host: string
  readonly vhost: string
  readonly username: string
}

/** Gives an error of the handshake the reply code that amqplib leaves out, and words that say what was refused. @internal */
export function explainHandshake(error: Error, { host, vhost, username }: HandshakeTarget): Error {
  const terminated = /^Handshake terminated by server: (\d{3})/.exec(error.message)
  const code = terminated === null ? undefined : Number(terminated[1])
  if (code !== undefined && !REFUSED_CODES.includes(code)) return Object.assign(error, { code })
  if (code !== undefined) return new AccessRefusedError(host, vhost, username, code, error)
  // amqplib knows no other answer to connection.open than open-ok and does not say what the close frame held.
  const isVhost = /^Expected ConnectionOpenOk; got <ConnectionClose /.test(error.message)
  return isVhost ? new AccessRefusedError(host, vhost, username, 530, error) : error
}

/** The refusal of a login or a virtual host, if that is what failed. `error` may be a `ConnectError` around it. @internal */
export function refusalIn(error: unknown): AccessRefusedError | undefined {
  if (error instanceof AccessRefusedError) return error
  if (error instanceof AggregateError) {
    // A name with several addresses: refused only if none of them would have us.
    const refusals = error.errors.map((one: unknown) => refusalIn(one))
    return refusals.includes(undefined) ? undefined : refusals[0]
  }
  return error instanceof Error && error.cause !== undefined ? refusalIn(error.cause) : undefined
}
