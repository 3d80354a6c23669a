import { frame, method, shortString, type FakeBehaviour, type FakeCall } from './fake-amqp.js'

/** A consumer as the fake queue sees it: one basic.consume. */
export interface FakeConsumer {
  readonly channel: number
  readonly tag: string
  readonly send: FakeCall['send']
}

/** What a client said of a delivery. */
export interface FakeVerdict {
  readonly consumer: FakeConsumer | undefined
  readonly verdict: 'ack' | 'requeue' | 'reject'
  readonly deliveryTag: number
}

/** A queue whose deliveries, cancellations and refusals the test decides. */
export class FakeQueue {
  readonly consumers: FakeConsumer[] = []
  readonly verdicts: FakeVerdict[] = []
  declareCount = 0
  /** Sent before the answer to basic.cancel. */
  onCancel: (consumer: FakeConsumer) => void = () => undefined
  /** Reply code and text for the next declarations; the channel is closed with it. */
  refusesDeclare: readonly [code: number, text: string] | undefined
  /** The same for the next subscriptions. */
  refusesConsume: readonly [code: number, text: string] | undefined
  /** What the queue says it has. */
  readyCount = 0

  readonly behaviour: FakeBehaviour = { onMethod: (called) => this.#onMethod(called) }

  /** The consumer that subscribed last. */
  get last(): FakeConsumer {
    return this.consumers.at(-1) as FakeConsumer
  }

  deliver({ channel, tag, send }: FakeConsumer, deliveryTag: number, messageId: string, redelivered = false): void {
    const tagBytes = Buffer.alloc(9)
    tagBytes.writeBigUInt64BE(BigInt(deliveryTag))
    tagBytes.writeUInt8(redelivered ? 1 : 0, 8)
    const body = Buffer.from('x')
    const header = Buffer.alloc(14)
    header.writeUInt16BE(60, 0)
    header.writeBigUInt64BE(BigInt(body.length), 4)
    header.writeUInt16BE(0x0080, 12)
    send(
      frame(1, channel, method(60, 60, Buffer.concat([shortString(tag), tagBytes, shortString(''), shortString('q')]))),
      frame(2, channel, Buffer.concat([header, shortString(messageId)])),
      frame(3, channel, body),
    )
  }

  /** The broker's basic.cancel. */
  cancel({ channel, tag, send }: FakeConsumer): void {
    send(frame(1, channel, method(60, 30, Buffer.concat([shortString(tag), Buffer.from([1])]))))
  }

  #onMethod(called: FakeCall): boolean {
    const { id, channel, args, send } = called
    const answer = (classId: number, methodId: number, payload?: Buffer): boolean => {
      send(frame(1, channel, method(classId, methodId, payload)))
      return true
    }
    switch (id) {
      case '50,10':
        return this.#onDeclare(called, answer)
      case '50,20':
        return answer(50, 21)
      case '60,20':
        if (this.refusesConsume !== undefined) return refuse(called, this.refusesConsume)
        this.consumers.push({ channel, tag: `c${String(this.consumers.length)}`, send })
        return answer(60, 21, shortString(this.last.tag))
      case '60,30': {
        const tag = args.subarray(1, 1 + args.readUInt8(0)).toString()
        const consumer = this.consumers.find((one) => one.tag === tag)
        if (consumer !== undefined) this.onCancel(consumer)
        return answer(60, 31, shortString(tag))
      }
      case '60,80':
      case '60,120':
        this.#onVerdict(called)
        return true
      default:
        return false
    }
  }

  #onDeclare(called: FakeCall, answer: (classId: number, methodId: number, payload?: Buffer) => boolean): boolean {
    const { args } = called
    const name = args.subarray(3, 3 + args.readUInt8(2))
    const isPassive = (args.readUInt8(3 + name.length) & 1) === 1
    if (!isPassive) this.declareCount += 1
    if (!isPassive && this.refusesDeclare !== undefined) return refuse(called, this.refusesDeclare)
    const counts = Buffer.alloc(8)
    counts.writeUInt32BE(this.readyCount)
    return answer(50, 11, Buffer.concat([shortString(name.toString()), counts]))
  }

  #onVerdict({ id, channel, args, send }: FakeCall): void {
    const consumer = this.consumers.find((one) => one.channel === channel && one.send === send)
    const requeue = id === '60,120' && (args.readUInt8(8) & 2) === 2
    const verdict = id === '60,80' ? 'ack' : requeue ? 'requeue' : 'reject'
    this.verdicts.push({ consumer, verdict, deliveryTag: Number(args.readBigUInt64BE(0)) })
  }
}

function refuse({ channel, send }: FakeCall, [code, text]: readonly [number, string]): true {
  const codeBytes = Buffer.alloc(2)
  codeBytes.writeUInt16BE(code)
  send(frame(1, channel, method(20, 40, Buffer.concat([codeBytes, shortString(text), Buffer.alloc(4)]))))
  return true
}
