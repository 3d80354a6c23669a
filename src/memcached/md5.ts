/** Additive constants: floor(2^32 * |sin(i + 1)|), RFC 1321. */
const SINES = Int32Array.from({ length: 64 }, (_, i) => Math.floor(2 ** 32 * Math.abs(Math.sin(i + 1))))
const words = new Int32Array(16)
const digest = new Int32Array(4)

/**
 * The first four bytes of the MD5 of an ASCII text, little-endian, as an unsigned number: ketama's hash of a key.
 *
 * Written out because `node:crypto` takes four times as long for a short key: almost all of it is the call itself.
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
    transform()
  }
  return digest[0] >>> 0
}

/** Fills `words` with the 64 bytes from `from`, with the closing 0x80 and zeros behind the text. */
function load(text: string, from: number): void {
  for (let i = 0; i < 16; i += 1) {
    const at = from + i * 4
    words[i] = byte(text, at) | (byte(text, at + 1) << 8) | (byte(text, at + 2) << 16) | (byte(text, at + 3) << 24)
  }
}

function byte(text: string, at: number): number {
  return at < text.length ? text.charCodeAt(at) : at === text.length ? 0x80 : 0
}

function transform(): void {
  let a = digest[0] as number
  let b = digest[1] as number
  let c = digest[2] as number
  let d = digest[3] as number
  for (let i = 0; i < 64; i += 1) {
    const round = i >> 4
    let mixed: number
    let word: number
    if (round === 0) {
      mixed = (b & c) | (~b & d)
      word = i
    } else if (round === 1) {
      mixed = (d & b) | (~d & c)
      word = (5 * i + 1) & 15
    } else if (round === 2) {
      mixed = b ^ c ^ d
      word = (3 * i + 5) & 15
    } else {
      mixed = c ^ (b | ~d)
      word = (7 * i) & 15
    }
    const sum = (a + mixed + (SINES[i] as number) + (words[word] as number)) | 0
    const shift = shiftOf(round, i & 3)
    a = d
    d = c
    c = b
    b = (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0
  }
  digest[0] = ((digest[0] as number) + a) | 0
  digest[1] = ((digest[1] as number) + b) | 0
  digest[2] = ((digest[2] as number) + c) | 0
  digest[3] = ((digest[3] as number) + d) | 0
}

const SHIFTS = Uint8Array.of(7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21)

function shiftOf(round: number, step: number): number {
  return SHIFTS[round * 4 + step] as number
}
