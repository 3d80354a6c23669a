import { describe, expect, test } from 'vitest'
import {
  explainHandshake,
  isEntityError,
  isQueueGone,
  isDeprecated,
  isTemporary,
  refusalIn,
  refusedExchange,
  replyCode,
} from '../../../src/amqp/classify.js'
import { AccessRefusedError, QueueKindError } from '../../../src/amqp/errors.js'
import { ConnectError, ConnectionLostError } from '../../../src/core/errors.js'

const target = { host: 'h:1', vhost: 'nova', username: 'u' }
const closed = (code: number, text: string): Error =>
  Object.assign(new Error(`Channel closed by server: ${code} (X) with message "${text}"`), { code })
const downText = "NOT_FOUND - home node 'r1@localhost' of durable queue 'q' in vhost '/' is down or inaccessible"

describe('errors of the broker', () => {
  test.each([
    [403, true],
    [404, true],
    [405, true],
    [406, true],
    [320, false],
    [501, false],
    [541, false],
  ])('with code %i concern one entity: %s', (code, isEntity) => {
    expect(isEntityError(closed(code, 'text'))).toBe(isEntity)
  })

  test('tell a queue that is gone from one whose node is down', () => {
    expect(isQueueGone(closed(404, "NOT_FOUND - no queue 'q' in vhost '/'"))).toBe(true)
    expect(isQueueGone(closed(404, downText))).toBe(false)
    expect(isTemporary(closed(404, downText))).toBe(true)
    expect(isTemporary(closed(404, "NOT_FOUND - no queue 'q' in vhost '/'"))).toBe(false)
  })

  test('tell a node whose replica of a stream is not there yet from a queue of another kind', () => {
    const early = "PRECONDITION_FAILED - queue 'queue 's' in vhost '/'' does not have a replica on the local node"
    const other = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 's' in vhost '/'"
    expect([early, other].map((text) => isTemporary(closed(406, text)))).toEqual([true, false])
  })

  test.each([
    ["NOT_FOUND - no exchange 'nope' in vhost '/'", 404, 'nope'],
    ["ACCESS_REFUSED - access to exchange 'secret' in vhost '/' refused for user 'u'", 403, 'secret'],
    ["PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/'", 406, undefined],
    ['message size 9 is larger than configured max size 8', 406, undefined],
  ])('name the exchange they are about: %s', (text, code, exchange) => {
    expect(refusedExchange(closed(code, text))).toBe(exchange)
  })

  test.each([403, 530])('of a refused login or virtual host, %i, say where, who and for what', (code) => {
    const error = new Error(`Handshake terminated by server: ${String(code)} (X) with message "X"`)
    expect(refusalIn(error)).toBeUndefined()
    const explained = explainHandshake(error, target)
    expect(explained).toMatchObject({
      code: 'HA_ACCESS_REFUSED',
      replyCode: code,
      host: 'h:1',
      vhost: 'nova',
      cause: error,
    })
    expect(explained.message).toMatch(/h:1 .*'nova'/)
    expect(refusalIn(new ConnectError('h:1', explained))).toBe(explained)
  })

  test('say that the virtual host was refused, which amqplib does not', () => {
    const error = explainHandshake(new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>'), target)
    expect(error).toMatchObject({ code: 'HA_ACCESS_REFUSED', replyCode: 530 })
    expect(error.message).toContain("virtual host 'nova'")
  })

  test('of the network are no refusal', () => {
    const error = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    expect(replyCode(error)).toBeUndefined()
    expect(refusalIn(explainHandshake(error, target))).toBeUndefined()
  })

  test('with another code in the handshake keep it', () => {
    const error = explainHandshake(new Error('Handshake terminated by server: 320 (X) with message "X"'), target)
    expect(replyCode(error)).toBe(320)
    expect(refusalIn(error)).toBeUndefined()
  })

  test('of a name with several addresses are a refusal only if all refuse', () => {
    const refused = new AccessRefusedError('h:1', '/', 'u', 403, undefined)
    expect(refusalIn(new AggregateError([refused, refused]))).toBe(refused)
    expect(refusalIn(new AggregateError([refused, new Error('ETIMEDOUT')]))).toBeUndefined()
  })

  test('tell a kind of queue that is not allowed from a node that cannot answer', () => {
    const deprecated = closed(541, 'INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.')
    expect(isDeprecated(new ConnectionLostError('h:1', 'x', { cause: deprecated }))).toBe(true)
    expect(isDeprecated(closed(541, 'INTERNAL_ERROR - operation timed out'))).toBe(false)
    expect(isTemporary(new QueueKindError('q', deprecated))).toBe(false)
    expect(isTemporary(closed(541, 'INTERNAL_ERROR - operation timed out'))).toBe(true)
  })
})
