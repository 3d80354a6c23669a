import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseJson } from '../../../../src/amqp/oslo/json-parser.js'
import { writeJson } from '../../../../src/amqp/oslo/json-writer.js'

/** Makes the careful parser do it. */
const CARE = '1234567890123456'

/** Large integers as `JSON.parse` has them. */
function rounded(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? Number(one) : one)))
}

describe('parsing', () => {
  test.each([
    ['18446744073709551617', 18446744073709551617n, ''],
    ['-9007199254740993', -9007199254740993n, ''],
    [
      '{"args": {"flavor": [{"id": 9007199254740993}]}}',
      { args: { flavor: [{ id: 9007199254740993n }] } },
      'args.flavor[0].id',
    ],
    ['[1, 9007199254740993, 18446744073709551617]', [1, 9007199254740993n, 18446744073709551617n], '[1]'],
  ])('%s keeps its integers, and says where they are', (text, value, unsafeInteger) => {
    expect(parseJson(text)).toEqual({ value, unsafeInteger })
  })

  test.each([
    ['[NaN, Infinity, -Infinity]', [NaN, Infinity, -Infinity]],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ['-0.12345678901234567890', -0.12345678901234568],
    ['1e300', 1e300],
    [
      `{"NaN": "Infinity ${CARE}", "__proto__": {"a": 1}}`,
      JSON.parse(`{"NaN": "Infinity ${CARE}", "__proto__": {"a": 1}}`) as unknown,
    ],
    [`["\\u00e9\\ud83d\\ude80\\\\", "${CARE}\\"", ""]`, ['é🚀\\', `${CARE}"`, '']],
  ])('%s', (text, value) => {
    const parsed = parseJson(text)
    expect(parsed).toEqual({ value, unsafeInteger: undefined })
  })

  test.each([
    '',
    '[NaN',
    '{"a" NaN}',
    'nan',
    '[1,]NaN',
    'NaN NaN',
    '"NaN',
    '{"NaN": 01}',
    '+Infinity',
    "['NaN']",
    `"\n${CARE}"`,
  ])('refuses %j without quoting it', (text) => {
    expect(() => parseJson(text)).toThrow(SyntaxError)
    expect(() => parseJson(`{"token": "secret"} ${text}x`)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') as string }) as Error,
    )
  })

  test('refuses a nesting that would overflow the stack', () => {
    expect(() => parseJson(`NaN${'['.repeat(100_000)}`)).toThrow(SyntaxError)
    expect(() => parseJson('[NaN,'.repeat(100_000))).toThrow(SyntaxError)
  })

  test('agrees with JSON.parse on everything that has neither large integers nor NaN', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        // The id makes the careful parser run.
        const text = JSON.stringify({ id: CARE, value })
        expect(rounded(parseJson(text).value)).toEqual(JSON.parse(text))
      }),
      { numRuns: 500 },
    )
  })
})

describe('writing', () => {
  test('is read back as it was', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(rounded(parseJson(writeJson(value)).value)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    [{ a: [1, 'é\u007f\n"'], b: {}, c: [], d: undefined }, '{"a": [1, "\\u00e9\\u007f\\n\\""], "b": {}, "c": []}'],
    [[NaN, -Infinity, 2n ** 64n, undefined, () => 1], '[NaN, -Infinity, 18446744073709551616, null, null]'],
    [new Date(0), '"1970-01-01T00:00:00.000Z"'],
  ])('is what Python writes', (value, text) => {
    expect(writeJson(value)).toBe(text)
  })

  test('refuses a circle and what is no value', () => {
    const circle: unknown[] = []
    circle.push({ circle })
    expect(() => writeJson(circle)).toThrow(TypeError)
    expect(() => writeJson(undefined)).toThrow(TypeError)
    const twice = {}
    expect(writeJson([twice, twice])).toBe('[{}, {}]')
  })
})
