import { EventEmitter } from 'node:events'

/** What a connection sees of its socket, without a network: for streams that no server would send, in great numbers. */
export class ScriptedSocket extends EventEmitter {
  readonly writableLength = 0
  readonly connecting = false
  destroyed = false
  #written: Buffer[] = []

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
    if (!this.destroyed && chunk.length > 0) this.emit('data', chunk)
  }

  destroy(): this {
    this.destroyed = true
    return this
  }
}
