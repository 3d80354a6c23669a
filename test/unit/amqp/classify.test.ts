import { describe, expect, test } from 'vitest'
import {
  explainHandshake,
  isEntityError,
  isQueueGone,
  isRefusal,
  isTemporary,
  refusedExchange,
  replyCode,
} from '../../../src/amqp/classify.js'
import { ConnectError } from '../../../src/core/errors.js'

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

  test.each([
    ["NOT_FOUND - no exchange 'nope' in vhost '/'", 404, 'nope'],
    ["ACCESS_REFUSED - access to exchange 'secret' in vhost '/' refused for user 'u'", 403, 'secret'],
    ["PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/'", 406, undefined],
    ['message size 9 is larger than configured max size 8', 406, undefined],
  ])('name the exchange they are about: %s', (text, code, exchange) => {
    expect(refusedExchange(closed(code, text))).toBe(exchange)
  })

  test('have the code of a refused login, which amqplib leaves out', () => {
    const error = new Error('Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED"')
    expect(isRefusal(error)).toBe(false)
    expect(replyCode(explainHandshake(error, '/'))).toBe(403)
    expect(isRefusal(new ConnectError('h:1', error))).toBe(true)
  })

  test('say that the virtual host was refused', () => {
    const error = explainHandshake(new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>'), 'nova')
    expect(error.message).toContain("virtual host 'nova'")
    expect(isRefusal(error)).toBe(true)
  })

  test('of the network are no refusal', () => {
    const error = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    expect(replyCode(error)).toBeUndefined()
    expect(isRefusal(explainHandshake(error, '/'))).toBe(false)
  })
})
