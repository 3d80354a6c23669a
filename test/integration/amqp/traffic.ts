import { expect } from 'vitest'
import { isHAError, type AmqpTransport, type Consumer } from '../../../src/amqp/index.js'

const PUBLISHERS = 16
const WAIT = { timeout: 90_000, interval: 20 }

/** Sixteen publishers with confirms and one consumer on a queue, and what became of every message. */
export class Traffic {
  readonly errors: unknown[] = []
  readonly confirmed: Set<string> = new Set()
  readonly delivered: Map<string, number> = new Map()
  readonly #transport: AmqpTransport
  readonly #queue: string
  readonly #gaps = { publish: new Gap(), deliver: new Gap() }
  #consumer: Consumer | undefined
  #workers: Promise<void>[] = []
  #isOn = true
  #count = 0
  #unsettled = 0

  private constructor(transport: AmqpTransport, queue: string) {
    this.#transport = transport
    this.#queue = queue
  }

  static async start(transport: AmqpTransport, queue: string): Promise<Traffic> {
    const traffic = new Traffic(transport, queue)
    traffic.#consumer = await transport.consume({ queue, prefetch: 200, concurrency: 200 }, ({ properties }) => {
      const id = properties['messageId'] as string
      traffic.delivered.set(id, (traffic.delivered.get(id) ?? 0) + 1)
      traffic.#gaps.deliver.beat()
    })
    traffic.#workers = Array.from({ length: PUBLISHERS }, () => traffic.#work())
    return traffic
  }

  get consumer(): Consumer {
    return this.#consumer as Consumer
  }

  /** Forgets the gaps so far. */
  restartGaps(): void {
    this.#gaps.publish = new Gap()
    this.#gaps.deliver = new Gap()
  }

  /** The longest pauses, in milliseconds. */
  get gaps(): { readonly publish: number; readonly deliver: number } {
    return { publish: this.#gaps.publish.longestMs, deliver: this.#gaps.deliver.longestMs }
  }

  /** Waits until so many more messages were confirmed and as many handled. */
  async more(count: number): Promise<void> {
    const { confirmed, delivered } = this
    const goals = [confirmed.size + count, delivered.size + count] as const
    await expect.poll(() => confirmed.size >= goals[0] && delivered.size >= goals[1], WAIT).toBe(true)
  }

  /** Stops publishing and waits until everything confirmed has been delivered. */
  async finish(): Promise<void> {
    this.#isOn = false
    await Promise.all(this.#workers)
    await expect.poll(() => this.lost, WAIT).toEqual([])
  }

  /** Confirmed and not delivered. */
  get lost(): readonly string[] {
    return [...this.confirmed].filter((id) => !this.delivered.has(id))
  }

  get unsettled(): number {
    return this.#unsettled
  }

  async #work(): Promise<void> {
    while (this.#isOn) {
      const messageId = `m${String((this.#count += 1))}`
      this.#unsettled += 1
      try {
        await this.#transport.publish('', this.#queue, 'x'.repeat(200), { messageId })
        this.confirmed.add(messageId)
        this.#gaps.publish.beat()
      } catch (error) {
        this.errors.push(error)
        // A client that was closed under us rejects at once: without this the loop would starve everything.
        if (isHAError(error) && error.code === 'HA_CLOSED') this.#isOn = false
      }
      this.#unsettled -= 1
    }
  }
}

class Gap {
  longestMs = 0
  #last = performance.now()

  beat(): void {
    const at = performance.now()
    this.longestMs = Math.max(this.longestMs, at - this.#last)
    this.#last = at
  }
}
