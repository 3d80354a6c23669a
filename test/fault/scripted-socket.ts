import { EventEmitter } from 'node:events'
import type { OnReadOpts } from 'node:net'

/** What a connection sees of its socket, without a network: for streams that no server would send, in great numbers. */
export class ScriptedSocket extends EventEmitter {
  readonly writableLength = 0
  readonly connecting = false
  destroyed = false
  #written: Buffer[] = []
  readonly #onread: OnReadOpts

  constructor(onread: OnReadOpts) {
    super()
    this.#onread = onread
  }

  write(data: string | Buffer, encoding?: BufferEncoding): boolean {
    this.#written.push(typeof data === 'string' ? Buffer.from(data, encoding) : data)
    return true
  }

  cork(): void {
    this.setMaxListeners(20)
  }

  uncork(): void {
    this.setMaxListeners(10)
  }

  /** What was written since the last call. */
  take(): Buffer {
    const all = Buffer.concat(this.#written)
    this.#written = []
    return all
  }

  /** Delivers bytes, as one chunk. */
  deliver(chunk: Buffer): void {
    const { buffer } = this.#onread
    if (this.destroyed || chunk.length === 0 || typeof buffer === 'function') return
    buffer.set(chunk)
    this.#onread.callback(chunk.length, buffer)
    // As the next read would.
    buffer.fill(0x3f, 0, chunk.length)
  }

  destroy(): this {
    this.destroyed = true
    return this
  }
}
