import { Connection } from './connection.js'
import { MetaParser } from './meta-parser.js'
import type { Outbox } from './outbox.js'
import type { Codec, Operation, Reply, TransportFactory } from './transport.js'

/** memcached's meta protocol, of memcached 1.6 and later. */
class MetaCodec implements Codec {
  readonly #parser: MetaParser

  constructor(name: string, maxValueBytes: number, onReply: (reply: Reply) => void) {
    this.#parser = new MetaParser(name, maxValueBytes, onReply)
  }

  encode(operation: Operation, out: Outbox): void {
    const { kind, key, payload } = operation
    if (kind === 'get') {
      out.line(operation.wantsCas ? `mg ${key} v f c\r\n` : `mg ${key} v f\r\n`)
    } else if (kind === 'set' && payload !== undefined) {
      const cas = operation.wantsCas ? ' c' : ''
      out.line(`ms ${key} ${payload.size} T${payload.expiry} F${payload.flags}${cas}\r\n`)
      out.value(payload.data, payload.size)
      out.line('\r\n')
    } else {
      out.line(kind === 'delete' ? `md ${key}\r\n` : kind === 'noop' ? 'mn\r\n' : 'flush_all\r\n')
    }
  }

  decode(chunk: Buffer): void {
    this.#parser.push(chunk)
  }
}

/** Connects with the meta protocol. @internal */
export const openMetaTransport: TransportFactory = (options, events) =>
  new Connection(options, events, (name, maxValueBytes, onReply) => new MetaCodec(name, maxValueBytes, onReply))
