import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { ConsumerAnswer, ConsumerOrder, ConsumerReport, ConsumerRequest } from './amqp-consumer-child.js'
import { forkTypeScript } from './fork.js'
import { onOwnClock } from './monotonic.js'
import { within } from './timing.js'

const CHILD = fileURLToPath(new URL('amqp-consumer-child.ts', import.meta.url))
const OPEN_LIMIT_MS = 45_000
const REPORT_LIMIT_MS = 5000
/** A client that does not end when it is told to is not waited for longer. */
const STOP_LIMIT_MS = 6000

/** A process of its own that consumes with a client of its own. */
export class ConsumerProcess {
  readonly #child: ChildProcess
  readonly #exit: Promise<unknown>
  readonly #onHandled: (id: string, at: number) => void
  readonly #waiting = new Map<ConsumerAnswer['about'], (answer: ConsumerAnswer) => void>()
  #report: ConsumerReport | undefined
  #isStopping = false
  #death: string | undefined

  /** `onHandled` is called for every message that was handed to the application. */
  constructor(request: ConsumerRequest, onHandled: (id: string, at: number) => void) {
    this.#onHandled = onHandled
    this.#child = forkTypeScript(CHILD, request)
    this.#child.on('message', (answer) => this.#onAnswer(answer as ConsumerAnswer))
    this.#exit = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        if (!this.#isStopping) this.#death = `a consumer process ended with ${signal ?? String(code)}`
        resolve(undefined)
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What its client said about itself when it was last asked. */
  get report(): ConsumerReport | undefined {
    return this.#report
  }

  /** Unhandled rejections of the process, and its end if it came unasked. */
  get unhandled(): readonly string[] {
    return [...(this.#report?.unhandled ?? []), ...(this.#death === undefined ? [] : [this.#death])]
  }

  /** Resolves when it consumes. */
  async open(): Promise<void> {
    const ended = this.#exit.then(() => Promise.reject(new Error(this.#death ?? 'a consumer process ended')))
    ended.catch(() => undefined)
    const answer = await within(OPEN_LIMIT_MS, 'consumer process', Promise.race([this.#next('open'), ended]))
    if ('error' in answer) throw new Error(`consumer process: ${answer.error}`)
  }

  /** Ends its client, and the process; bounded. */
  async stop(): Promise<void> {
    if (this.#isStopping) return
    this.#isStopping = true
    if (this.#child.connected) {
      const told = this.#next('report')
      this.#order('stop')
      await within(STOP_LIMIT_MS, 'report', Promise.race([told, this.#exit])).catch(() => undefined)
    }
    await within(STOP_LIMIT_MS, 'end', this.#exit).catch(() => this.#child.kill('SIGKILL'))
    await this.#exit
  }

  /** Asks its client about itself. */
  async ask(): Promise<void> {
    if (!this.#child.connected) return
    const told = this.#next('report')
    this.#order('report')
    await within(REPORT_LIMIT_MS, 'report', told).catch(() => undefined)
  }

  #order(order: ConsumerOrder): void {
    this.#child.send(order, () => undefined)
  }

  #next(about: ConsumerAnswer['about']): Promise<ConsumerAnswer> {
    return new Promise((resolve) => this.#waiting.set(about, resolve))
  }

  #onAnswer(answer: ConsumerAnswer): void {
    if (answer.about === 'handled') {
      for (const [id, at] of answer.messages) this.#onHandled(id, onOwnClock(at))
      return
    }
    if (answer.about === 'report') this.#report = answer.report
    this.#waiting.get(answer.about)?.(answer)
    this.#waiting.delete(answer.about)
  }
}

/** Starts so many of them and waits until all consume; ends them all when one does not. */
export async function startConsumers(
  count: number,
  request: ConsumerRequest,
  onHandled: (process: number, id: string, at: number) => void,
): Promise<readonly ConsumerProcess[]> {
  const processes = Array.from({ length: count }, (_, i) => {
    return new ConsumerProcess(request, (id, at) => onHandled(i, id, at))
  })
  try {
    await Promise.all(processes.map((each) => each.open()))
    return processes
  } catch (error) {
    await Promise.all(processes.map((each) => each.stop()))
    throw error
  }
}
