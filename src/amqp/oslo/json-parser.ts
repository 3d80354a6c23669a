/** What a JSON text says, with a note of the first number in it that no JavaScript number can hold. @internal */
export interface ParsedJson {
  /** Integers beyond 2^53 are bigints in it. */
  readonly value: unknown
  /** Where the first such integer is, as `args.flavor.id` or `result[2]`. */
  readonly unsafeInteger: string | undefined
}

/** What `JSON.parse` refuses or rounds, where a value may begin. It may be within a string: parsed carefully for nothing. */
const NEEDS_CARE = /(?:^|[[:,])[ \t\n\r]*-?(?:\d{16}|NaN|Infinity)/
/** Python itself reads no deeper nesting: its recursion limit is 1000. */
const MAX_DEPTH = 1000
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y
const WHITE = /[ \t\n\r]*/y
const LITERALS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ['true', true],
  ['false', false],
  ['null', null],
  ['NaN', NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
])
const LITERAL = /-?[A-Za-z]+/y

/**
 * Parses JSON as Python writes it: with `NaN`, `Infinity` and integers of any size, none of which is changed.
 *
 * `JSON.parse` refuses the former and rounds the latter without a word. It is used where the text holds neither.
 * Throws `SyntaxError`, whose message quotes nothing of the text.
 * @internal
 */
export function parseJson(text: string): ParsedJson {
  if (NEEDS_CARE.test(text)) return new Parser(text).parse()
  try {
    return { value: JSON.parse(text), unsafeInteger: undefined }
  } catch {
    // V8 quotes the text in its message, and bodies hold tokens.
    throw new SyntaxError('the text is not JSON')
  }
}

class Parser {
  readonly #text: string
  readonly #path: (string | number)[] = []
  #at = 0
  #unsafeInteger: string | undefined

  constructor(text: string) {
    this.#text = text
  }

  parse(): ParsedJson {
    const value = this.#value()
    this.#match(WHITE)
    if (this.#at !== this.#text.length) throw this.#error()
    return { value, unsafeInteger: this.#unsafeInteger }
  }

  #value(): unknown {
    if (this.#path.length > MAX_DEPTH) throw this.#error()
    this.#match(WHITE)
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object()
      case '[':
        return this.#array()
      case '"':
        return this.#string()
      default:
        return this.#scalar()
    }
  }

  #object(): Record<string, unknown> {
    const object: Record<string, unknown> = {}
    this.#at += 1
    if (this.#take('}')) return object
    do {
      this.#match(WHITE)
      const key = this.#string()
      if (!this.#take(':')) throw this.#error()
      this.#path.push(key)
      // Not by assignment: `__proto__` would set the prototype.
      Object.defineProperty(object, key, {
        value: this.#value(),
        writable: true,
        enumerable: true,
        configurable: true,
      })
      this.#path.pop()
    } while (this.#take(','))
    if (!this.#take('}')) throw this.#error()
    return object
  }

  #array(): unknown[] {
    const array: unknown[] = []
    this.#at += 1
    if (this.#take(']')) return array
    do {
      this.#path.push(array.length)
      array.push(this.#value())
      this.#path.pop()
    } while (this.#take(','))
    if (!this.#take(']')) throw this.#error()
    return array
  }

  /** Finds the closing quote; what is between is for `JSON.parse` to judge. */
  #string(): string {
    const start = this.#at
    if (this.#text[start] !== '"') throw this.#error()
    let end = start
    do {
      end = this.#text.indexOf('"', end + 1)
      if (end < 0) throw this.#error()
    } while (this.#isEscaped(end))
    this.#at = end + 1
    try {
      return JSON.parse(this.#text.slice(start, end + 1)) as string
    } catch {
      throw this.#error()
    }
  }

  #isEscaped(at: number): boolean {
    let first = at
    while (this.#text[first - 1] === '\\') first -= 1
    return (at - first) % 2 === 1
  }

  #scalar(): unknown {
    const start = this.#at
    const word = this.#match(LITERAL)
    if (word !== undefined) {
      if (!LITERALS.has(word)) throw this.#error()
      return LITERALS.get(word)
    }
    NUMBER.lastIndex = start
    const match = NUMBER.exec(this.#text)
    if (match === null) throw this.#error()
    this.#at = NUMBER.lastIndex
    const number = Number(match[0])
    const isInteger = match[1] === undefined && match[2] === undefined
    if (!isInteger || Number.isSafeInteger(number)) return number
    this.#unsafeInteger ??= formatPath(this.#path)
    return BigInt(match[0])
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const match = pattern.exec(this.#text)
    if (match === null) return undefined
    this.#at = pattern.lastIndex
    return match[0]
  }

  #take(character: string): boolean {
    this.#match(WHITE)
    if (this.#text[this.#at] !== character) return false
    this.#at += 1
    return true
  }

  #error(): SyntaxError {
    return new SyntaxError(`the text is not JSON, at character ${this.#at}`)
  }
}

function formatPath(path: readonly (string | number)[]): string {
  const text = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`)).join('')
  return text.startsWith('.') ? text.slice(1) : text
}
