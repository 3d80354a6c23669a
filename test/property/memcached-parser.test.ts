import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MetaParser } from '../../src/memcached/meta-parser.js'
import type { Reply } from '../../src/memcached/transport.js'

interface Answer {
  readonly wire: Buffer
  readonly seen: string
}

const line = (text: string, seen: string): Answer => ({ wire: Buffer.from(`${text}\r\n`), seen })

/** Values that look like the protocol are the likeliest to be mistaken for it. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((raw) => Buffer.from(raw)),
  fc.constantFrom('', '\r\n', 'EN\r\n', 'VA 3 f0\r\nabc\r\n', 'HD\r\nVA 1').map((text) => Buffer.from(text)),
)
const value = fc.tuple(bytes, fc.nat(2 ** 31), fc.nat(2 ** 40)).map(([body, flags, cas]): Answer => ({
  wire: Buffer.concat([Buffer.from(`VA ${body.length} f${flags} c${cas}\r\n`), body, Buffer.from('\r\n')]),
  seen: `value ${flags} ${cas} ${body.toString('hex')}`,
}))
const part = fc
  .tuple(bytes, fc.stringMatching(/^[!-~]{1,50}$/), fc.nat(2 ** 31), fc.option(fc.nat(2 ** 40)))
  .map(([body, key, flags, cas]): Answer => ({
    wire: Buffer.concat([
      Buffer.from(`VALUE ${key} ${flags} ${body.length}${cas === null ? '' : ` ${cas}`}\r\n`),
      body,
      Buffer.from('\r\n'),
    ]),
    seen: `part ${flags} ${cas ?? 0} ${key}:${body.toString('hex')}`,
  }))
const answer = fc.oneof(
  { weight: 4, arbitrary: value },
  { weight: 2, arbitrary: part },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      line('EN', 'miss 0 0 '),
      line('HD', 'done 0 0 '),
      line('HD c77', 'done 0 77 '),
      line('NF', 'notFound 0 0 '),
      line('NS', 'notStored 0 0 '),
      line('EX', 'exists 0 0 '),
      line('MN', 'noop 0 0 '),
      line('OK', 'flushed 0 0 '),
      line('END', 'end 0 0 '),
      line('SERVER_ERROR out of memory storing object', 'refused HA_SERVER_BUSY'),
      line('SERVER_ERROR object too large for cache', 'refused HA_VALUE_TOO_LARGE'),
      line('CLIENT_ERROR bad command line format', 'refused HA_PROTOCOL'),
    ),
  },
)

function describeReply(reply: Reply): string {
  if (reply.error !== undefined) return `refused ${(reply.error as Error & { code: string }).code}`
  const hasValue = reply.status === 'value' || reply.status === 'part'
  const body = hasValue ? reply.bytes.subarray(reply.start, reply.end).toString('hex') : ''
  const key = reply.status === 'part' ? `${reply.keyBytes.toString('latin1', reply.keyStart, reply.keyEnd)}:` : ''
  return `${reply.status} ${reply.flags} ${reply.cas} ${key}${body}`
}

function parse(chunks: readonly Buffer[]): string[] {
  const seen: string[] = []
  const parser = new MetaParser('h1:11211', 1024, (reply) => seen.push(describeReply(reply)))
  for (const chunk of chunks) parser.push(chunk)
  return seen
}

function cutAt(wire: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [...new Set(cuts.map((cut) => cut % (wire.length + 1)))].sort((a, b) => a - b)
  return [0, ...places].map((from, i) => wire.subarray(from, places[i] ?? wire.length))
}

describe('the parser of the meta protocol', () => {
  test('sees the same answers however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 20 }), fc.array(fc.nat()), (answers, cuts) => {
        const wire = Buffer.concat(answers.map((one) => one.wire))
        expect(parse(cutAt(wire, cuts))).toEqual(answers.map((one) => one.seen))
      }),
      { numRuns: 2000 },
    )
  })

  test('sees the same values whatever key is expected, and tells whether it came', () => {
    const guess = fc.constantFrom(
      (key: string) => key,
      (key: string) => `${key}x`,
      (key: string) => key.slice(0, -1),
      (key: string) => `x${key.slice(1)}`,
      () => undefined,
    )
    fc.assert(
      fc.property(fc.array(fc.tuple(part, guess), { maxLength: 20 }), fc.array(fc.nat()), (parts, cuts) => {
        const keys = parts.map(([{ wire }]) => wire.toString('latin1').split(' ')[1] as string)
        const guesses = parts.map(([, guessOf], i) => guessOf(keys[i] as string))
        const seen: [string, boolean][] = []
        const onReply = (reply: Reply): unknown => seen.push([describeReply(reply), reply.isNextKey])
        const parser = new MetaParser('h1:11211', 1024, onReply, () => guesses[seen.length])
        for (const chunk of cutAt(Buffer.concat(parts.map(([{ wire }]) => wire)), cuts)) parser.push(chunk)
        expect(seen).toEqual(parts.map(([each], i) => [each.seen, guesses[i] === keys[i]]))
      }),
      { numRuns: 2000 },
    )
  })

  test('sees the same answers when it is fed byte by byte', () => {
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 10 }), (answers) => {
        const wire = Buffer.concat(answers.map((one) => one.wire))
        expect(parse([...wire].map((byte) => Buffer.of(byte)))).toEqual(answers.map((one) => one.seen))
      }),
      { numRuns: 200 },
    )
  })

  test('a stream that ends anywhere has told only what was complete', () => {
    fc.assert(
      fc.property(
        fc.array(answer, { minLength: 1, maxLength: 10 }),
        fc.nat(),
        fc.array(fc.nat()),
        (answers, at, cuts) => {
          const wire = Buffer.concat(answers.map((one) => one.wire))
          const head = wire.subarray(0, at % (wire.length + 1))
          let complete = 0
          for (let end = 0; complete < answers.length; complete += 1) {
            end += (answers[complete] as Answer).wire.length
            if (end > head.length) break
          }
          expect(parse(cutAt(head, cuts))).toEqual(answers.slice(0, complete).map((one) => one.seen))
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('noise ends in an error or in waiting, never in anything else', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), (noise) => {
        try {
          parse(noise.map((chunk) => Buffer.from(chunk)))
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^HA_(PROTOCOL|SERVER_BUSY)$/)
        }
      }),
      { numRuns: 1000 },
    )
  })

  test.each([
    ['a value that is longer than announced', 'VA 3 f0\r\nabcd\r\n'],
    ['a size that is no number', 'VA x f0\r\n'],
    ['a size beyond the limit', 'VA 1025 f0\r\n'],
    ['one of several values without a size', 'VALUE key 0\r\n'],
    ['one of several values without a key', 'VALUE\r\n'],
    ['one of several values with a size beyond the limit', 'VALUE key 0 1025\r\n'],
    ['a line that ends without a carriage return', 'EN\n'],
    ['an endless line', 'x'.repeat(3000)],
    ['an old server', 'ERROR\r\n'],
    ['another protocol', 'HTTP/1.1 400 Bad Request\r\n'],
  ])('%s is an error', (_what, text) => {
    expect(() => parse([Buffer.from(text)])).toThrow(expect.objectContaining({ code: 'HA_PROTOCOL' }) as Error)
  })

  test('a server without room for connections says so', () => {
    expect(() => parse([Buffer.from('ERROR Too many open connections\r\n')])).toThrow(
      expect.objectContaining({ code: 'HA_SERVER_BUSY' }) as Error,
    )
  })
})
