/** What is in a JSON text as it is: no quotes, no backslashes. */
const ORDINARY = /^[ !#-[\]-~]*$/
/** Outside of what Python leaves as it is with `ensure_ascii`. */
const NOT_PRINTABLE_ASCII = /[^ -~]/
const EACH_NOT_PRINTABLE_ASCII = /[^ -~]/g

/** A part of a message that has been written already, by {@link writeJson}. @internal */
export class JsonText {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/**
 * Writes JSON as Python's `json.dumps` does: `", "` and `": "` between, everything beyond ASCII escaped, `NaN` and
 * `Infinity` as bare words, bigints as integers of any size.
 *
 * Otherwise the rules are those of `JSON.stringify`. Throws `TypeError` for what is no JSON value, a circle included.
 * @internal
 */
export function writeJson(value: unknown): string {
  const text = write(value, '', [])
  if (text === undefined) throw new TypeError('the value is no JSON value')
  return text
}

function write(given: unknown, key: string, above: object[]): string | undefined {
  const value = hasToJson(given) ? given.toJSON(key) : given
  switch (typeof value) {
    case 'string':
      return quote(value)
    case 'number':
      return writeNumber(value)
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'object':
      return value === null ? 'null' : writeObject(value, above)
    default:
      return undefined
  }
}

function writeObject(value: object, above: object[]): string {
  if (value instanceof JsonText) return value.text
  if (above.includes(value)) throw new TypeError('the value holds itself')
  above.push(value)
  const text = Array.isArray(value)
    ? `[${value.map((element, index) => write(element, String(index), above) ?? 'null').join(', ')}]`
    : `{${writeFields(value as Record<string, unknown>, above)}}`
  above.pop()
  return text
}

function writeFields(value: Record<string, unknown>, above: object[]): string {
  let fields = ''
  for (const key of Object.keys(value)) {
    const text = write(value[key], key, above)
    if (text !== undefined) fields += `${fields === '' ? '' : ', '}${quote(key)}: ${text}`
  }
  return fields
}

function writeNumber(value: number): string {
  return Object.is(value, -0) ? '-0.0' : String(value)
}

function quote(text: string): string {
  // Most of what is written here, and far cheaper than the rest.
  if (ORDINARY.test(text)) return `"${text}"`
  const quoted = JSON.stringify(text)
  return NOT_PRINTABLE_ASCII.test(quoted) ? quoted.replace(EACH_NOT_PRINTABLE_ASCII, escape) : quoted
}

function escape(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}

function hasToJson(value: unknown): value is { toJSON: (key: string) => unknown } {
  return typeof value === 'object' && value !== null && typeof (value as { toJSON?: unknown }).toJSON === 'function'
}
