import { deflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { compress, decompress } from '../../../../src/amqp/oslo/compression.js'
import { packContext, redactContext, unpackContext } from '../../../../src/amqp/oslo/context.js'
import { decode, encode } from '../../../../src/amqp/oslo/envelope.js'
import { RemoteError, NoSuchMethodError } from '../../../../src/amqp/index.js'
import { readFailure, writeFailure } from '../../../../src/amqp/oslo/failure.js'
import { SeenIds } from '../../../../src/amqp/oslo/seen-ids.js'
import { isCompatible } from '../../../../src/amqp/oslo/version.js'

describe('a version', () => {
  test.each([
    ['1.5', '1.0', true],
    ['1.5', '1.5', true],
    ['1.5', '1.6', false],
    ['1.5', '2.0', false],
    ['2.0', '1.9', false],
    ['1.5.2', '1.5.1', true],
    ['1.5.1', '1.5.2', false],
    ['1.6', '1.5.9', true],
    ['1.0', 'x', false],
  ])('%s serves %s: %s', (offered, required, is) => {
    expect(isCompatible(offered, required)).toBe(is)
  })
})

describe('a context', () => {
  test('survives the wire, whatever its keys are', () => {
    const context = JSON.parse('{"__proto__": 1, "user_id": "u", "": 0}') as Record<string, unknown>
    expect(unpackContext({ method: 'm', ...packContext(context) })).toEqual(context)
    expect(Object.getPrototypeOf(unpackContext(packContext(context)))).toBe(Object.prototype)
  })

  test('has no token when it goes into a notification', () => {
    expect(redactContext({ user_id: 'u', auth_token: 't', trust_id: 'x', request_id: 'r' })).toEqual({
      user_id: 'u',
      request_id: 'r',
    })
    expect(redactContext(null)).toEqual({})
  })
})

describe('a failure', () => {
  test('survives the wire', () => {
    const failure = {
      remoteClass: 'InstanceNotFound',
      remoteModule: 'nova.exception',
      remoteMessage: 'Instance 1 é',
      remoteTraceback: ['Traceback\n'],
      args: [1, null],
      kwargs: { code: 404 },
    }
    expect(readFailure(writeFailure(new RemoteError(failure)))).toMatchObject(failure)
  })

  test('of JavaScript has its class, its message and its trace', () => {
    const read = readFailure(writeFailure(new RangeError('too much')))
    expect(read).toMatchObject({ remoteClass: 'RangeError', remoteModule: 'node', remoteMessage: 'too much' })
    expect(read.remoteTraceback.join('')).toContain('rules.test')
  })

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a text', 'text'],
    ['a bigint', 7n],
    ['a symbol', Symbol('s')],
    ['an object without a prototype', Object.create(null)],
    ['an object that cannot be a text', { toString: null }],
  ])('can be anything that was thrown: %s', (_, thrown) => {
    expect(readFailure(writeFailure(thrown))).toBeInstanceOf(RemoteError)
  })

  test('whose arguments are no JSON arrives without them', () => {
    const circle: unknown[] = []
    circle.push(circle)
    const error = new RemoteError({ remoteClass: 'X', remoteMessage: 'm', args: circle })
    expect(readFailure(writeFailure(error))).toMatchObject({ remoteClass: 'X', args: ['m'] })
  })

  test.each([undefined, '', '[]', '{"class": 5, "tb": null, "args": {}, "kwargs": []}', 7, {}])(
    'that cannot be read is one all the same: %j',
    (text) => {
      expect(readFailure(text)).toBeInstanceOf(RemoteError)
    },
  )

  test('of the dispatcher is typed, of others by that name is not', () => {
    const text = (module: string): string => JSON.stringify({ class: 'NoSuchMethod', module, message: 'm' })
    expect(readFailure(text('oslo_messaging.rpc.dispatcher'))).toBeInstanceOf(NoSuchMethodError)
    expect(readFailure(text('elsewhere'))).not.toBeInstanceOf(NoSuchMethodError)
  })
})

describe('a compressed body', () => {
  const properties = { contentType: 'application/json' }

  test('is zlib under the name of gzip, as kombu has it', () => {
    const { content, headers } = encode({ a: 'é' }, 'gzip')
    expect(headers).toEqual({ compression: 'application/x-gzip' })
    expect(content.readUInt8(0)).toBe(0x78)
    expect(decode({ content, properties: { ...properties, headers } }).payload).toEqual({ a: 'é' })
  })

  test('that grows beyond what a message may have is refused', () => {
    const bomb = deflateSync(Buffer.alloc(130 * 1024 * 1024))
    expect(() => decompress(bomb, { compression: 'application/x-gzip' })).toThrow(/larger than/)
  })

  test('in a way that Node has not is refused with what to do', () => {
    expect(() => decompress(Buffer.alloc(1), { compression: 'application/x-bz2' })).toThrow(/kombu_compression to gzip/)
    expect(compress(Buffer.from('x'), undefined).headers).toBeUndefined()
  })
})

describe('an envelope', () => {
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8' }

  test.each([
    ['{"a": 1}', { a: 1 }],
    ['{"oslo.version": "2.0", "oslo.message": "{\\"a\\": 1}"}', { a: 1 }],
  ])('or none is understood: %s', (text, payload) => {
    expect(decode({ content: Buffer.from(text), properties })).toEqual({ payload, unsafeInteger: undefined })
  })

  test.each([
    ['{"a": 1}', { contentType: undefined }],
    ['{"a": 1}', { contentType: 'application/json; charset=utf-8' }],
    ['{"a": 1}', { contentEncoding: 'utf-16' }],
    ['{"oslo.version": "2.1", "oslo.message": "{}"}', {}],
    ['{"oslo.version": "2.0", "oslo.message": {}}', {}],
    ['{"oslo.version": "2.0", "oslo.message": "[]"}', {}],
    ['"text"', {}],
    ['', {}],
  ])('that oslo.messaging rejects is rejected: %s %j', (text, changes) => {
    const message = { content: Buffer.from(text), properties: { ...properties, ...changes } }
    expect(() => decode(message)).toThrow(/not a message of oslo.messaging/)
  })

  test('of invalid UTF-8 is rejected', () => {
    expect(() => decode({ content: Buffer.from([0x7b, 0xff, 0x7d]), properties })).toThrow(/is not utf-8/)
  })
})

describe('ids that were seen', () => {
  test('a copy waits for the first, and does not run', async () => {
    const seen = new SeenIds()
    const order: string[] = []
    let finish = (): void => undefined
    const first = seen.once('a', () =>
      new Promise<void>((resolve) => (finish = resolve)).then(() => void order.push('ran')),
    )
    const copy = seen
      .once('a', () => Promise.reject(new Error('ran twice')))
      .then((is) => order.push(`copy ${String(is)}`))
    finish()
    expect(await first).toBe(true)
    await copy
    expect(order).toEqual(['ran', 'copy false'])
  })

  test('a failure is forgotten', async () => {
    const seen = new SeenIds()
    await expect(seen.once('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await seen.once('a', () => Promise.resolve())).toBe(true)
  })

  test('they are bounded', async () => {
    const seen = new SeenIds()
    for (let id = 0; id < 10_100; id += 1) await seen.once(String(id), () => Promise.resolve())
    expect(seen.size).toBe(10_000)
  })
})
