/** Sixteen words of text, as the rounds below want them. */
type Words = Readonly<Record<0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15, number>>

const words = new Int32Array(16)
const digest = new Int32Array(4)

/**
 * The first four bytes of the MD5 (RFC 1321) of an ASCII text, little-endian, as an unsigned number: ketama's hash of a
 * key.
 *
 * Written out, and without loops in the rounds, because every request hashes its key: `node:crypto` takes several times
 * as long for a short text, almost all of it for the call itself, and loops take twice as long.
 * @internal
 */
export function md5Point(text: string): number {
  digest[0] = 0x67452301
  digest[1] = 0xefcdab89
  digest[2] = 0x98badcfe
  digest[3] = 0x10325476
  const length = text.length
  const blocks = ((length + 8) >> 6) + 1
  for (let block = 0; block < blocks; block += 1) {
    load(text, block * 64)
    // The length in bits ends the last block; keys are far below 2^29 bytes, so its upper word is 0.
    if (block === blocks - 1) words[14] = length * 8
    transform(words as unknown as Words)
  }
  return digest[0] >>> 0
}

/** Fills `words` with the 64 bytes from `from`, with the closing 0x80 and zeros behind the text. */
function load(text: string, from: number): void {
  const count = Math.min(64, text.length - from)
  const whole = count >> 2
  let at = from
  let i = 0
  for (; i < whole; i += 1, at += 4) {
    words[i] =
      text.charCodeAt(at) |
      (text.charCodeAt(at + 1) << 8) |
      (text.charCodeAt(at + 2) << 16) |
      (text.charCodeAt(at + 3) << 24)
  }
  if (count === 64) return
  for (let rest = i; rest < 16; rest += 1) words[rest] = 0
  // A negative count: the text has ended in the block before.
  if (count < 0) return
  let last = 0x80
  for (let byte = (count & 3) - 1; byte >= 0; byte -= 1) last = (last << 8) | text.charCodeAt(at + byte)
  words[i] = last
}

function transform(w: Words): void {
  let a = digest[0] as number
  let b = digest[1] as number
  let c = digest[2] as number
  let d = digest[3] as number
  // Round 1.
  a = (a + ((b & c) | (~b & d)) + w[0] + 0xd76aa478) | 0
  a = (b + ((a << 7) | (a >>> 25))) | 0
  d = (d + ((a & b) | (~a & c)) + w[1] + 0xe8c7b756) | 0
  d = (a + ((d << 12) | (d >>> 20))) | 0
  c = (c + ((d & a) | (~d & b)) + w[2] + 0x242070db) | 0
  c = (d + ((c << 17) | (c >>> 15))) | 0
  b = (b + ((c & d) | (~c & a)) + w[3] + 0xc1bdceee) | 0
  b = (c + ((b << 22) | (b >>> 10))) | 0
  a = (a + ((b & c) | (~b & d)) + w[4] + 0xf57c0faf) | 0
  a = (b + ((a << 7) | (a >>> 25))) | 0
  d = (d + ((a & b) | (~a & c)) + w[5] + 0x4787c62a) | 0
  d = (a + ((d << 12) | (d >>> 20))) | 0
  c = (c + ((d & a) | (~d & b)) + w[6] + 0xa8304613) | 0
  c = (d + ((c << 17) | (c >>> 15))) | 0
  b = (b + ((c & d) | (~c & a)) + w[7] + 0xfd469501) | 0
  b = (c + ((b << 22) | (b >>> 10))) | 0
  a = (a + ((b & c) | (~b & d)) + w[8] + 0x698098d8) | 0
  a = (b + ((a << 7) | (a >>> 25))) | 0
  d = (d + ((a & b) | (~a & c)) + w[9] + 0x8b44f7af) | 0
  d = (a + ((d << 12) | (d >>> 20))) | 0
  c = (c + ((d & a) | (~d & b)) + w[10] + 0xffff5bb1) | 0
  c = (d + ((c << 17) | (c >>> 15))) | 0
  b = (b + ((c & d) | (~c & a)) + w[11] + 0x895cd7be) | 0
  b = (c + ((b << 22) | (b >>> 10))) | 0
  a = (a + ((b & c) | (~b & d)) + w[12] + 0x6b901122) | 0
  a = (b + ((a << 7) | (a >>> 25))) | 0
  d = (d + ((a & b) | (~a & c)) + w[13] + 0xfd987193) | 0
  d = (a + ((d << 12) | (d >>> 20))) | 0
  c = (c + ((d & a) | (~d & b)) + w[14] + 0xa679438e) | 0
  c = (d + ((c << 17) | (c >>> 15))) | 0
  b = (b + ((c & d) | (~c & a)) + w[15] + 0x49b40821) | 0
  b = (c + ((b << 22) | (b >>> 10))) | 0
  // Round 2.
  a = (a + ((d & b) | (~d & c)) + w[1] + 0xf61e2562) | 0
  a = (b + ((a << 5) | (a >>> 27))) | 0
  d = (d + ((c & a) | (~c & b)) + w[6] + 0xc040b340) | 0
  d = (a + ((d << 9) | (d >>> 23))) | 0
  c = (c + ((b & d) | (~b & a)) + w[11] + 0x265e5a51) | 0
  c = (d + ((c << 14) | (c >>> 18))) | 0
  b = (b + ((a & c) | (~a & d)) + w[0] + 0xe9b6c7aa) | 0
  b = (c + ((b << 20) | (b >>> 12))) | 0
  a = (a + ((d & b) | (~d & c)) + w[5] + 0xd62f105d) | 0
  a = (b + ((a << 5) | (a >>> 27))) | 0
  d = (d + ((c & a) | (~c & b)) + w[10] + 0x02441453) | 0
  d = (a + ((d << 9) | (d >>> 23))) | 0
  c = (c + ((b & d) | (~b & a)) + w[15] + 0xd8a1e681) | 0
  c = (d + ((c << 14) | (c >>> 18))) | 0
  b = (b + ((a & c) | (~a & d)) + w[4] + 0xe7d3fbc8) | 0
  b = (c + ((b << 20) | (b >>> 12))) | 0
  a = (a + ((d & b) | (~d & c)) + w[9] + 0x21e1cde6) | 0
  a = (b + ((a << 5) | (a >>> 27))) | 0
  d = (d + ((c & a) | (~c & b)) + w[14] + 0xc33707d6) | 0
  d = (a + ((d << 9) | (d >>> 23))) | 0
  c = (c + ((b & d) | (~b & a)) + w[3] + 0xf4d50d87) | 0
  c = (d + ((c << 14) | (c >>> 18))) | 0
  b = (b + ((a & c) | (~a & d)) + w[8] + 0x455a14ed) | 0
  b = (c + ((b << 20) | (b >>> 12))) | 0
  a = (a + ((d & b) | (~d & c)) + w[13] + 0xa9e3e905) | 0
  a = (b + ((a << 5) | (a >>> 27))) | 0
  d = (d + ((c & a) | (~c & b)) + w[2] + 0xfcefa3f8) | 0
  d = (a + ((d << 9) | (d >>> 23))) | 0
  c = (c + ((b & d) | (~b & a)) + w[7] + 0x676f02d9) | 0
  c = (d + ((c << 14) | (c >>> 18))) | 0
  b = (b + ((a & c) | (~a & d)) + w[12] + 0x8d2a4c8a) | 0
  b = (c + ((b << 20) | (b >>> 12))) | 0
  // Round 3.
  a = (a + (b ^ c ^ d) + w[5] + 0xfffa3942) | 0
  a = (b + ((a << 4) | (a >>> 28))) | 0
  d = (d + (a ^ b ^ c) + w[8] + 0x8771f681) | 0
  d = (a + ((d << 11) | (d >>> 21))) | 0
  c = (c + (d ^ a ^ b) + w[11] + 0x6d9d6122) | 0
  c = (d + ((c << 16) | (c >>> 16))) | 0
  b = (b + (c ^ d ^ a) + w[14] + 0xfde5380c) | 0
  b = (c + ((b << 23) | (b >>> 9))) | 0
  a = (a + (b ^ c ^ d) + w[1] + 0xa4beea44) | 0
  a = (b + ((a << 4) | (a >>> 28))) | 0
  d = (d + (a ^ b ^ c) + w[4] + 0x4bdecfa9) | 0
  d = (a + ((d << 11) | (d >>> 21))) | 0
  c = (c + (d ^ a ^ b) + w[7] + 0xf6bb4b60) | 0
  c = (d + ((c << 16) | (c >>> 16))) | 0
  b = (b + (c ^ d ^ a) + w[10] + 0xbebfbc70) | 0
  b = (c + ((b << 23) | (b >>> 9))) | 0
  a = (a + (b ^ c ^ d) + w[13] + 0x289b7ec6) | 0
  a = (b + ((a << 4) | (a >>> 28))) | 0
  d = (d + (a ^ b ^ c) + w[0] + 0xeaa127fa) | 0
  d = (a + ((d << 11) | (d >>> 21))) | 0
  c = (c + (d ^ a ^ b) + w[3] + 0xd4ef3085) | 0
  c = (d + ((c << 16) | (c >>> 16))) | 0
  b = (b + (c ^ d ^ a) + w[6] + 0x04881d05) | 0
  b = (c + ((b << 23) | (b >>> 9))) | 0
  a = (a + (b ^ c ^ d) + w[9] + 0xd9d4d039) | 0
  a = (b + ((a << 4) | (a >>> 28))) | 0
  d = (d + (a ^ b ^ c) + w[12] + 0xe6db99e5) | 0
  d = (a + ((d << 11) | (d >>> 21))) | 0
  c = (c + (d ^ a ^ b) + w[15] + 0x1fa27cf8) | 0
  c = (d + ((c << 16) | (c >>> 16))) | 0
  b = (b + (c ^ d ^ a) + w[2] + 0xc4ac5665) | 0
  b = (c + ((b << 23) | (b >>> 9))) | 0
  // Round 4.
  a = (a + (c ^ (b | ~d)) + w[0] + 0xf4292244) | 0
  a = (b + ((a << 6) | (a >>> 26))) | 0
  d = (d + (b ^ (a | ~c)) + w[7] + 0x432aff97) | 0
  d = (a + ((d << 10) | (d >>> 22))) | 0
  c = (c + (a ^ (d | ~b)) + w[14] + 0xab9423a7) | 0
  c = (d + ((c << 15) | (c >>> 17))) | 0
  b = (b + (d ^ (c | ~a)) + w[5] + 0xfc93a039) | 0
  b = (c + ((b << 21) | (b >>> 11))) | 0
  a = (a + (c ^ (b | ~d)) + w[12] + 0x655b59c3) | 0
  a = (b + ((a << 6) | (a >>> 26))) | 0
  d = (d + (b ^ (a | ~c)) + w[3] + 0x8f0ccc92) | 0
  d = (a + ((d << 10) | (d >>> 22))) | 0
  c = (c + (a ^ (d | ~b)) + w[10] + 0xffeff47d) | 0
  c = (d + ((c << 15) | (c >>> 17))) | 0
  b = (b + (d ^ (c | ~a)) + w[1] + 0x85845dd1) | 0
  b = (c + ((b << 21) | (b >>> 11))) | 0
  a = (a + (c ^ (b | ~d)) + w[8] + 0x6fa87e4f) | 0
  a = (b + ((a << 6) | (a >>> 26))) | 0
  d = (d + (b ^ (a | ~c)) + w[15] + 0xfe2ce6e0) | 0
  d = (a + ((d << 10) | (d >>> 22))) | 0
  c = (c + (a ^ (d | ~b)) + w[6] + 0xa3014314) | 0
  c = (d + ((c << 15) | (c >>> 17))) | 0
  b = (b + (d ^ (c | ~a)) + w[13] + 0x4e0811a1) | 0
  b = (c + ((b << 21) | (b >>> 11))) | 0
  a = (a + (c ^ (b | ~d)) + w[4] + 0xf7537e82) | 0
  a = (b + ((a << 6) | (a >>> 26))) | 0
  d = (d + (b ^ (a | ~c)) + w[11] + 0xbd3af235) | 0
  d = (a + ((d << 10) | (d >>> 22))) | 0
  c = (c + (a ^ (d | ~b)) + w[2] + 0x2ad7d2bb) | 0
  c = (d + ((c << 15) | (c >>> 17))) | 0
  b = (b + (d ^ (c | ~a)) + w[9] + 0xeb86d391) | 0
  b = (c + ((b << 21) | (b >>> 11))) | 0
  digest[0] = (digest[0] as number) + a
  digest[1] = (digest[1] as number) + b
  digest[2] = (digest[2] as number) + c
  digest[3] = (digest[3] as number) + d
}
