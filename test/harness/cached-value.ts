/** What is stored under a key: the key itself, and the number of the write, so that every read can be judged. */
export function cachedValue(key: string, sequence: number): string {
  return `${key}=${sequence};${'x'.repeat(40)}`
}

/** The number of the write; undefined when the value is not one of this key. */
export function writeNumber(key: string, value: string): number | undefined {
  const match = /^([^=]+)=(\d+);x+$/.exec(value)
  return match?.[1] === key ? Number(match[2]) : undefined
}
