const TAIL = `;${'x'.repeat(40)}`

/** What is stored under a key: the key itself, and the number of the write, so that every read can be judged. */
export function cachedValue(key: string, sequence: number): string {
  return `${key}=${sequence}${TAIL}`
}

/** The number of the write; undefined when the value is not one of this key. */
export function writeNumber(key: string, value: string): number | undefined {
  if (!value.startsWith(key) || !value.endsWith(TAIL) || value[key.length] !== '=') return undefined
  const digits = value.slice(key.length + 1, -TAIL.length)
  return /^\d+$/.test(digits) ? Number(digits) : undefined
}
