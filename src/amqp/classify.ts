/**
 * What the broker's reply codes mean for us. The code decides; the text is asked only where one code has two meanings.
 *
 * | code | AMQP name | level | what we do |
 * |---|---|---|---|
 * | 200, 320 | reply-success, connection-forced | connection | planned end: next host |
 * | 403 | access-refused | handshake | refused: no repetition mends it |
 * | 403, 404, 405, 406 | access-refused, not-found, resource-locked, precondition-failed | channel | about one entity |
 * | 530 | not-allowed | handshake | the virtual host is missing or not ours: refused |
 * | 541 | internal-error | connection | another host may be able to: next host |
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

/** True when waiting may mend the refusal: the node that has the queue is down, or another owner still holds it. @internal */
export function isTemporary(error: unknown): boolean {
  if (!isEntityError(error)) return true
  return (
    replyCode(error) === 405 ||
    /home node .* (is down|inaccessible)|is down or inaccessible|timed?.?out/i.test((error as Error).message)
  )
}

/** The exchange that a refusal is about, when its text says so. @internal */
export function refusedExchange(error: unknown): string | undefined {
  const code = replyCode(error)
  if (code !== 403 && code !== 404) return undefined
  return /exchange '([^']*)'/.exec((error as Error).message)?.[1]
}

/**
 * Gives an error of the handshake the reply code that amqplib leaves out, and words that say what was refused.
 * @internal
 */
export function explainHandshake(error: Error, vhost: string): Error {
  const terminated = /^Handshake terminated by server: (\d{3})/.exec(error.message)
  if (terminated !== null) return Object.assign(error, { code: Number(terminated[1]) })
  // amqplib knows no other answer to connection.open than open-ok and does not say what the close frame held.
  if (/^Expected ConnectionOpenOk; got <ConnectionClose /.test(error.message)) {
    const refused = new Error(
      `the server refused virtual host '${vhost}': it is missing, or not allowed for this user`,
      {
        cause: error,
      },
    )
    return Object.assign(refused, { code: 530 })
  }
  return error
}

/** True for a refused login or virtual host. `error` may be the `ConnectError` around it. @internal */
export function isRefusal(error: Error): boolean {
  return REFUSED_CODES.includes(replyCode(error)) || (error.cause instanceof Error && isRefusal(error.cause))
}
