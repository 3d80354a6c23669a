import { describe, expect, test } from 'vitest'
import { newCounters } from '../../../src/amqp/counters.js'
import { toLetter, type PublishOptions } from '../../../src/amqp/letter.js'
import { Publisher } from '../../../src/amqp/publisher.js'
import type { Session } from '../../../src/amqp/session.js'
import { Topology } from '../../../src/amqp/topology.js'
import { ConnectionLostError } from '../../../src/core/errors.js'
import { settle, stubSession, type StubChannel, type StubConnection } from '../../helpers/stub-amqp.js'

interface Setup {
  readonly publisher: Publisher
  readonly counters: ReturnType<typeof newCounters>
  readonly publish: (exchange: string, body: string, options?: PublishOptions) => Promise<void>
}

function setUp(maxMessages = 100): Setup {
  const counters = newCounters()
  const publisher = new Publisher({
    maxMessages,
    maxBytes: 1_000_000,
    topology: new Topology(),
    counters,
    whyWaiting: () => new Error('no host'),
    onServing: () => undefined,
  })
  const publish: Setup['publish'] = (exchange, body, options = {}) => {
    const { timeoutMs = 10_000, signal, overflow } = options
    // As the transport does it: a refusal is a rejection.
    const promise = (async () =>
      publisher.publish(toLetter(exchange, 'k', body, options), { timeoutMs, signal }, overflow === 'wait'))()
    promise.catch(() => undefined)
    return promise
  }
  return { publisher, counters, publish }
}

async function attach({
  publisher,
}: Setup): Promise<{ session: Session; connection: StubConnection; channel: StubChannel }> {
  const { session, connection } = await stubSession()
  publisher.attach(session)
  await settle()
  return { session, connection, channel: connection.confirmChannels[0] as StubChannel }
}

const ack = (channel: StubChannel, deliveryTag: number, multiple = false): boolean =>
  channel.emit('ack', { deliveryTag, multiple })
const bodies = (channel: StubChannel | undefined): readonly string[] =>
  (channel?.published ?? []).map(({ content }) => content.toString())

describe('the publisher', () => {
  test('resolves when the broker confirmed, also several at once', async () => {
    const setup = setUp()
    const { channel } = await attach(setup)
    const all = ['a', 'b', 'c'].map((body) => setup.publish('', body))
    ack(channel, 2, true)
    await Promise.all(all.slice(0, 2))
    ack(channel, 3)
    await all[2]
    expect(setup.publisher.outbox).toMatchObject({ messages: 0, bytes: 0 })
    expect(setup.counters).toMatchObject({ published: 3, confirmed: 3, resent: 0 })
  })

  test('keeps messages while there is no connection, and sends them in order', async () => {
    const setup = setUp()
    const all = ['a', 'b'].map((body) => setup.publish('', body))
    const { channel } = await attach(setup)
    expect(bodies(channel)).toEqual(['a', 'b'])
    ack(channel, 2, true)
    await Promise.all(all)
  })

  test('sends what was not confirmed again on a new connection, with the same id and an attempt header', async () => {
    const setup = setUp()
    const first = await attach(setup)
    const all = ['a', 'b'].map((body) => setup.publish('', body, { messageId: body }))
    ack(first.channel, 1)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const late = setup.publish('', 'c')
    const second = await attach(setup)
    expect(bodies(second.channel)).toEqual(['b', 'c'])
    expect(second.channel.published[0]?.options).toMatchObject({
      messageId: 'b',
      headers: { 'x-openstack-ha-attempt': 2 },
    })
    expect(second.channel.published[1]?.options.headers).toBeUndefined()
    ack(second.channel, 2, true)
    await Promise.all([...all, late])
    expect(setup.counters.resent).toBe(1)
  })

  test('rejects a mandatory message that came back, and not its neighbours', async () => {
    const setup = setUp()
    const { channel } = await attach(setup)
    const lost = setup.publish('e', 'a', { mandatory: true, messageId: 'm' })
    const kept = setup.publish('e', 'b', { mandatory: true, messageId: 'n' })
    channel.emit('return', {
      fields: { replyCode: 312, replyText: 'NO_ROUTE', exchange: 'e', routingKey: 'k' },
      properties: { messageId: 'm' },
    })
    ack(channel, 2, true)
    await expect(lost).rejects.toMatchObject({ code: 'HA_UNROUTABLE', messageId: 'm', exchange: 'e', replyCode: 312 })
    await kept
    expect(setup.counters).toMatchObject({ returned: 1, confirmed: 1 })
  })

  test('tells which message came back when several have the same id', async () => {
    const setup = setUp()
    const { channel } = await attach(setup)
    const kept = setup.publish('e', 'a', { mandatory: true, messageId: 'm' })
    const lost = setup.publish('f', 'b', { mandatory: true, messageId: 'm' })
    channel.emit('return', { fields: { exchange: 'f', routingKey: 'k' }, properties: { messageId: 'm' } })
    ack(channel, 2, true)
    await expect(lost).rejects.toMatchObject({ code: 'HA_UNROUTABLE', exchange: 'f' })
    await kept
  })

  test('says of a message that came back, or was refused, that it may be stored, if an earlier connection had it', async () => {
    const setup = setUp()
    const first = await attach(setup)
    const refused = setup.publish('e', 'a')
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { connection, channel } = await attach(setup)
    channel.refuse(404, "NOT_FOUND - no exchange 'e' in vhost '/'")
    await settle()
    const [, ...fresh] = connection.confirmChannels
    fresh.find((one) => bodies(one).includes('a'))?.refuse(404, "NOT_FOUND - no exchange 'e' in vhost '/'")
    await expect(refused).rejects.toMatchObject({ code: 'HA_OUTCOME_UNKNOWN', cause: { code: 404 } })
  })

  test('gives up a channel that gives no verdict, and sends again on a fresh one', async () => {
    const setup = setUp()
    const first = await attach(setup)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { connection, channel } = await attach(setup)
    const message = setup.publish('', 'a', { timeoutMs: 30_000 })
    await expect.poll(() => bodies(connection.confirmChannels[1]), { timeout: 15_000 }).toEqual(['a'])
    expect(channel.closeCount).toBe(1)
    // The verdict of the channel that was given up means nothing any more.
    ack(channel, 1)
    expect(setup.publisher.outbox.messages).toBe(1)
    ack(connection.confirmChannels[1] as StubChannel, 1)
    await message
    expect(setup.counters).toMatchObject({ confirmed: 1, resent: 1 })
  })

  test('gives up a channel soon that refuses one message after a failover and leaves others without a verdict', async () => {
    const setup = setUp()
    const first = await attach(setup)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { connection, channel } = await attach(setup)
    const all = ['a', 'b'].map((body) => setup.publish('', body))
    channel.emit('nack', { deliveryTag: 1, multiple: false })
    // The refused one at once on a fresh channel, which does not answer either; the other one when the first is given up.
    await expect.poll(() => connection.confirmChannels.slice(1).flatMap(bodies).includes('b')).toBe(true)
    expect(channel.closeCount).toBe(1)
    const answer = setInterval(() => {
      for (const one of connection.confirmChannels.slice(1)) ack(one, one.published.length, true)
    }, 20)
    await Promise.all(all)
    clearInterval(answer)
  })

  test('keeps a channel on which messages only stand in line', async () => {
    const setup = setUp()
    const first = await attach(setup)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { connection, channel } = await attach(setup)
    const refused = setup.publish('', 'x', { timeoutMs: 300 })
    refused.catch(() => undefined)
    const all = Array.from({ length: 20 }, (_, i) => setup.publish('', String(i)))
    // Short patience: each message waits longer than it, but the broker goes on answering.
    channel.emit('nack', { deliveryTag: 1, multiple: false })
    await settle()
    let tag = 1
    const answer = setInterval(() => ack(channel, (tag += 1)), 50)
    await Promise.all(all)
    clearInterval(answer)
    expect(channel.closeCount).toBe(1)
    expect(
      connection.confirmChannels
        .slice(1)
        .flatMap(bodies)
        .every((body) => body === 'x'),
    ).toBe(true)
  })

  test('sends what others overtook behind them when its channel is given up', async () => {
    const setup = setUp()
    const first = await attach(setup)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { connection, channel } = await attach(setup)
    const refused = setup.publish('', 'refused')
    const stuck = setup.publish('', 'stuck')
    const waiting = new Set<Promise<void>>()
    const flow = setInterval(() => {
      waiting.add(setup.publish('', 'flow'))
      const current = connection.confirmChannels.at(-1) as StubChannel
      if (current === channel) for (let tag = 3; tag <= channel.published.length; tag += 1) ack(channel, tag)
      else ack(current, current.published.length, true)
    }, 20)
    await expect.poll(() => bodies(channel).length).toBeGreaterThan(4)
    channel.emit('nack', { deliveryTag: 1, multiple: false })
    await Promise.all([refused, stuck])
    clearInterval(flow)
    const fresh = connection.confirmChannels.slice(1).flatMap(bodies)
    expect(fresh.filter((body) => body === 'stuck')).toHaveLength(1)
    expect(fresh.indexOf('flow')).toBeLessThan(fresh.indexOf('stuck'))
    ack(connection.confirmChannels.at(-1) as StubChannel, 1_000_000, true)
    await Promise.all(waiting)
  })

  test('sends no more than its window at first after a failover, and more with each round trip', async () => {
    const setup = setUp(10_000)
    const all = Array.from({ length: 2000 }, (_, i) => setup.publish('', String(i)))
    const first = await attach(setup)
    expect(first.channel.published).toHaveLength(256)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { channel } = await attach(setup)
    const sizes: number[] = []
    for (let acked = 0; acked < 2000;) {
      sizes.push(channel.published.length - acked)
      acked = channel.published.length
      ack(channel, acked, true)
    }
    await Promise.all(all)
    expect(sizes.slice(0, 4)).toEqual([128, 256, 512, 1024])
  })

  test('lets a publish wait for room, in order, and refuses it when its limit comes first', async () => {
    const setup = setUp(1)
    const { channel } = await attach(setup)
    const first = setup.publish('', 'a')
    const second = setup.publish('', 'b', { overflow: 'wait' })
    const late = setup.publish('', 'c', { overflow: 'wait', timeoutMs: 30 })
    await expect(late).rejects.toMatchObject({ code: 'HA_BACKPRESSURE', safeToRetry: true })
    // One waits already, and as many may wait as the outbox holds.
    expect(setup.publisher.outbox).toMatchObject({ messages: 1, waiting: 1 })
    expect(bodies(channel)).toEqual(['a'])
    ack(channel, 1)
    await first
    expect(bodies(channel)).toEqual(['a', 'b'])
    ack(channel, 2)
    await second
    expect(setup.publisher.outbox).toMatchObject({ messages: 0, waiting: 0 })
  })

  test('refuses at once when as many wait as may, and ends a wait for room by its signal', async () => {
    const setup = setUp(2)
    const abort = new AbortController()
    const held = [setup.publish('', 'a'), setup.publish('', 'b')]
    const waiting = setup.publish('', 'c', { overflow: 'wait', signal: abort.signal })
    const other = setup.publish('', 'd', { overflow: 'wait' })
    await expect(setup.publish('', 'e', { overflow: 'wait' })).rejects.toMatchObject({ code: 'HA_BACKPRESSURE' })
    abort.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    const { channel } = await attach(setup)
    ack(channel, 2, true)
    await Promise.all(held)
    ack(channel, 3)
    await other
    expect(bodies(channel)).toEqual(['a', 'b', 'd'])
  })

  test('resolves a flush only when those that waited for room are through as well', async () => {
    const setup = setUp(1)
    const { channel } = await attach(setup)
    void setup.publish('', 'a')
    const second = setup.publish('', 'b', { overflow: 'wait' })
    const flushed = setup.publisher.flush()
    ack(channel, 1)
    await settle()
    ack(channel, 2)
    await flushed
    await second
  })

  test('survives a storm of refusals, confirmations for unknown tags and confirmations that come twice', async () => {
    const setup = setUp(10_000)
    const { connection, channel } = await attach(setup)
    const all = Array.from({ length: 200 }, (_, i) => setup.publish('', String(i)))
    channel.emit('nack', { deliveryTag: 200, multiple: true })
    ack(channel, 4711)
    ack(channel, 0)
    ack(channel, 200, true)
    expect(setup.publisher.outbox.messages).toBe(200)
    const answer = setInterval(() => {
      for (const one of connection.confirmChannels) {
        ack(one, one.published.length, true)
        ack(one, one.published.length, true)
      }
    }, 20)
    await Promise.all(all)
    clearInterval(answer)
    expect(setup.counters).toMatchObject({ confirmed: 200, nacked: 200, resent: 200 })
    expect(setup.publisher.outbox).toMatchObject({ messages: 0, bytes: 0 })
  })

  test('does not give up a channel for the time in which the broker was blocked', async () => {
    const setup = setUp()
    const first = await attach(setup)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { connection, channel } = await attach(setup)
    const messages = [setup.publish('', 'x', { timeoutMs: 1000 }), setup.publish('', 'a')]
    connection.emit('blocked', 'low on memory')
    channel.emit('nack', { deliveryTag: 1, multiple: false })
    await new Promise((resolve) => setTimeout(resolve, 600))
    connection.emit('unblocked')
    await new Promise((resolve) => setTimeout(resolve, 120))
    ack(channel, 2)
    await messages[1]
    expect(connection.confirmChannels.slice(1).flatMap(bodies)).not.toContain('a')
  })

  test('reports a message as unknown that was sent before and cannot be encoded with the attempt header', async () => {
    const setup = setUp()
    const first = await attach(setup)
    const message = setup.publish('', 'a', { messageId: 'm' })
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { session, connection } = await stubSession()
    const create = connection.createConfirmChannel.bind(connection)
    connection.createConfirmChannel = async () => {
      const channel = await create()
      channel.publish = () => {
        throw new RangeError('the headers are too large')
      }
      return channel
    }
    setup.publisher.attach(session)
    await expect(message).rejects.toMatchObject({ code: 'HA_OUTCOME_UNKNOWN', cause: { name: 'RangeError' } })
  })

  test('sends a message again that came back soon after a reconnect', async () => {
    const setup = setUp()
    const first = await attach(setup)
    first.session.cut(new ConnectionLostError('h1', 'test'))
    const { channel } = await attach(setup)
    const message = setup.publish('', 'a', { messageId: 'm' })
    channel.emit('return', { fields: { exchange: '', routingKey: 'k' }, properties: { messageId: 'm' } })
    ack(channel, 1)
    await expect.poll(() => bodies(channel)).toEqual(['a', 'a'])
    ack(channel, 2)
    await message
    expect(setup.counters).toMatchObject({ returned: 1, resent: 1, confirmed: 1 })
  })

  test('rejects only the message to the unknown exchange, which the broker names', async () => {
    const setup = setUp()
    const { connection, channel } = await attach(setup)
    const good = ['a', 'b'].map((body) => setup.publish('', body))
    const bad = setup.publish('nope', 'x')
    channel.refuse(404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
    await settle()
    const [, ...fresh] = connection.confirmChannels
    const main = fresh.find((one) => bodies(one).includes('a')) as StubChannel
    const careful = fresh.find((one) => bodies(one).includes('x')) as StubChannel
    expect(bodies(main)).toEqual(['a', 'b'])
    careful.refuse(404, "NOT_FOUND - no exchange 'nope' in vhost '/'")
    await expect(bad).rejects.toMatchObject({ code: 404 })
    ack(main, 2, true)
    await Promise.all(good)
  })

  test('finds the culprit by itself when the broker names nothing', async () => {
    const setup = setUp()
    const { connection, channel } = await attach(setup)
    const all = ['a', 'big', 'c'].map((body) => setup.publish('', body))
    channel.refuse(406, 'message size 9 is larger than configured max size 8')
    for (let i = 0; i < 10; i += 1) {
      await settle()
      for (const one of connection.confirmChannels.slice(1)) {
        const last = bodies(one).at(-1)
        if (last === 'big') one.refuse(406, 'message size 9 is larger')
        else if (last !== undefined) ack(one, one.published.length, true)
      }
    }
    const results = await Promise.allSettled(all)
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  })

  test('sends a refused message again on a fresh channel', async () => {
    const setup = setUp()
    const { connection, channel } = await attach(setup)
    const message = setup.publish('', 'a')
    channel.emit('nack', { deliveryTag: 1, multiple: false })
    await expect.poll(() => bodies(connection.confirmChannels[1])).toEqual(['a'])
    ack(connection.confirmChannels[1] as StubChannel, 1)
    await message
    expect(channel.closeCount).toBe(1)
    expect(setup.counters).toMatchObject({ nacked: 1, resent: 1, confirmed: 1 })
  })

  test('reports a message that was refused until its limit as refused', async () => {
    const setup = setUp()
    const { connection } = await attach(setup)
    const message = setup.publish('', 'a', { timeoutMs: 150, messageId: 'm' })
    const refuse = setInterval(() => {
      for (const one of connection.confirmChannels) {
        for (let tag = 1; tag <= one.published.length; tag += 1) one.emit('nack', { deliveryTag: tag, multiple: false })
      }
    }, 5)
    await expect(message).rejects.toMatchObject({ code: 'HA_PUBLISH_REFUSED', messageId: 'm' })
    clearInterval(refuse)
    await expect.poll(() => setup.publisher.outbox.messages).toBe(0)
  })

  test('reports an unconfirmed message as unknown, and holds its place until the channel answers', async () => {
    const setup = setUp(1)
    const { channel } = await attach(setup)
    await expect(setup.publish('', 'a', { timeoutMs: 20, messageId: 'm' })).rejects.toMatchObject({
      code: 'HA_OUTCOME_UNKNOWN',
      messageId: 'm',
      cause: { code: 'HA_TIMEOUT' },
    })
    await expect(setup.publish('', 'b')).rejects.toMatchObject({ code: 'HA_BACKPRESSURE' })
    ack(channel, 1)
    expect(setup.publisher.outbox.messages).toBe(0)
  })

  test('reports a message that was never sent as safe to retry', async () => {
    const setup = setUp()
    await expect(setup.publish('', 'a', { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'HA_TIMEOUT',
      phase: 'operation',
      safeToRetry: true,
    })
    expect(setup.publisher.outbox.messages).toBe(0)
  })

  test('ends by the signal: unsent with its reason, sent as unknown', async () => {
    const setup = setUp()
    const abort = new AbortController()
    const unsent = setup.publish('', 'a', { signal: abort.signal })
    abort.abort(new Error('enough'))
    await expect(unsent).rejects.toThrow('enough')
    await attach(setup)
    const other = new AbortController()
    const sent = setup.publish('', 'b', { signal: other.signal })
    other.abort(new Error('enough'))
    await expect(sent).rejects.toMatchObject({ code: 'HA_OUTCOME_UNKNOWN', cause: { message: 'enough' } })
  })

  test('sends nothing while the broker is blocked', async () => {
    const setup = setUp()
    const { connection, channel } = await attach(setup)
    connection.emit('blocked', 'low on memory')
    const message = setup.publish('', 'a')
    expect(channel.published).toEqual([])
    connection.emit('unblocked')
    ack(channel, 1)
    await message
  })

  test('rejects a message that cannot be encoded, alone', async () => {
    const setup = setUp()
    const { channel } = await attach(setup)
    const publish = channel.publish.bind(channel)
    channel.publish = () => {
      channel.publish = publish
      throw new TypeError('headers')
    }
    await expect(setup.publish('', 'a')).rejects.toThrow('headers')
    const good = setup.publish('', 'b')
    ack(channel, 1)
    await good
    expect(setup.publisher.outbox.messages).toBe(0)
  })

  test('rejects everything when it is closed, and says which may have been stored', async () => {
    const setup = setUp()
    const { session } = await attach(setup)
    const sent = setup.publish('', 'a')
    session.cut(new Error('test'))
    const unsent = setup.publish('', 'b')
    setup.publisher.close((mayBeStored) => new Error(mayBeStored ? 'maybe' : 'never'))
    await expect(sent).rejects.toThrow('maybe')
    await expect(unsent).rejects.toThrow('never')
    expect(setup.publisher.outbox).toMatchObject({ messages: 0, bytes: 0 })
  })
})
