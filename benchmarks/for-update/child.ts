import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { within } from '../../test/harness/index.js'
import type { Answer, Order, TransferReport, TransferRequest } from './process.js'

const FILE = fileURLToPath(new URL('process.ts', import.meta.url))
const OPEN_LIMIT_MS = 60_000
const ANSWER_LIMIT_MS = 10_000

/** A process that transfers, seen from its parent. Ends with its parent at the latest. */
export class TransferChild {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #settleMs: number
  readonly #exited: Promise<unknown>

  constructor(request: TransferRequest) {
    this.#name = request.client
    this.#settleMs = request.settleMs
    this.#child = fork(FILE, [JSON.stringify(request)], { stdio: ['ignore', 2, 2, 'ipc'] })
    this.#exited = once(this.#child, 'exit')
  }

  async opened(): Promise<void> {
    await this.#answer('open', OPEN_LIMIT_MS)
  }

  async start(): Promise<void> {
    await this.#ask('start')
  }

  /** The host that has committed the last transfer. */
  async where(): Promise<string | undefined> {
    return (await this.#ask('progress')).host
  }

  /** Transfers committed so far. */
  async committed(): Promise<number> {
    return (await this.#ask('progress')).committed
  }

  /** Starts nothing new until the next `start`; resolves when nothing is under way. */
  async pause(): Promise<void> {
    await this.#ask('pause', this.#settleMs + ANSWER_LIMIT_MS)
  }

  /** Ends the work; the process ends by itself soon after. */
  async stop(): Promise<TransferReport> {
    return (await this.#ask('stop', this.#settleMs + ANSWER_LIMIT_MS)).report
  }

  /** Resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }

  async #ask<A extends Order>(order: A, limitMs = ANSWER_LIMIT_MS): Promise<Extract<Answer, { about: A }>> {
    const answer = this.#answer(order, limitMs)
    this.#child.send(order)
    return answer
  }

  async #answer<A extends Answer['about']>(about: A, limitMs: number): Promise<Extract<Answer, { about: A }>> {
    const left = this.#exited.then(() => {
      throw new Error(`${this.#name}: a process ended by itself`)
    })
    const answered = new Promise<Extract<Answer, { about: A }>>((resolve) => {
      const listen = (answer: Answer): void => {
        if (answer.about !== about) return
        this.#child.off('message', listen)
        resolve(answer as Extract<Answer, { about: A }>)
      }
      this.#child.on('message', listen)
    })
    return within(limitMs, `${this.#name}: ${about}`, Promise.race([answered, left]))
  }
}
