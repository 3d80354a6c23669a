import type { Socket } from 'node:net'

/**
 * What a connection has to write, mostly at the end of this turn of the event loop.
 *
 * Strings are collected in one string, and cut only around buffers: mostly it is one write of one string.
 * @internal
 */
export class Outbox {
  #text = ''
  #chunks: (string | Buffer)[] = []
  /** ASCII is written faster as latin1. */
  #isAscii = true
  #heldBytes = 0

  /** Bytes of values that wait to be written. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** Adds ASCII. */
  line(text: string): void {
    this.#text += text
  }

  /** Adds a value of `size` bytes. */
  value(data: string | Buffer, size: number): void {
    this.#heldBytes += size
    if (typeof data === 'string') {
      this.#text += data
      if (size !== data.length) this.#isAscii = false
      return
    }
    if (this.#text !== '') this.#chunks.push(this.#text)
    this.#chunks.push(data)
    this.#text = ''
  }

  /** Writes everything, in one system call where the kernel takes it. */
  flush(socket: Socket): void {
    const chunks = this.#chunks
    const text = this.#text
    const encoding = this.#isAscii ? 'latin1' : 'utf8'
    this.clear()
    if (chunks.length === 0) {
      if (text !== '') socket.write(text, encoding)
      return
    }
    socket.cork()
    for (const chunk of chunks) {
      if (typeof chunk === 'string') socket.write(chunk, encoding)
      else socket.write(chunk)
    }
    if (text !== '') socket.write(text, encoding)
    socket.uncork()
  }

  clear(): void {
    this.#text = ''
    this.#chunks = []
    this.#isAscii = true
    this.#heldBytes = 0
  }
}
