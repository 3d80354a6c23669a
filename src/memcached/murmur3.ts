const C1 = 0xcc9e2d51
const C2 = 0x1b873593

/** MurmurHash3 (x86, 32 bits, seed 0) of an ASCII text, as an unsigned number. @internal */
export function murmur3(text: string): number {
  let hash = 0
  const whole = text.length & ~3
  for (let at = 0; at < whole; at += 4) {
    hash ^= scramble(block(text, at, 4))
    hash = Math.imul(rotate(hash, 13), 5) + 0xe6546b64
  }
  if (whole < text.length) hash ^= scramble(block(text, whole, text.length - whole))
  hash ^= text.length
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Up to four bytes, the lowest first. */
function block(text: string, at: number, count: number): number {
  let word = 0
  for (let i = 0; i < count; i += 1) word |= text.charCodeAt(at + i) << (8 * i)
  return word
}

function scramble(word: number): number {
  return Math.imul(rotate(Math.imul(word, C1), 15), C2)
}

function rotate(word: number, by: number): number {
  return (word << by) | (word >>> (32 - by))
}
