import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { EchoAnswer, EchoReport, EchoRequest } from './echo-server-child.js'
import { forkTypeScript } from './fork.js'
import { within } from './timing.js'

const CHILD = fileURLToPath(new URL('echo-server-child.ts', import.meta.url))
const OPEN_LIMIT_MS = 45_000
const REPORT_LIMIT_MS = 6000

/** An RPC server of this package in a process of its own, so that it can be killed. */
export class EchoServerProcess {
  readonly #child: ChildProcess
  readonly #exit: Promise<void>
  readonly #onExecuted: (value: unknown) => void
  readonly #waiting = new Map<EchoAnswer['about'], (answer: EchoAnswer) => void>()
  #report: EchoReport | undefined
  #isStopping = false
  #death: string | undefined

  /** `onExecuted` is called with the value of each request that its method got. */
  constructor(request: EchoRequest, onExecuted: (value: unknown) => void) {
    this.#onExecuted = onExecuted
    this.#child = forkTypeScript(CHILD, request)
    this.#child.on('message', (answer) => this.#onAnswer(answer as EchoAnswer))
    this.#exit = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        if (!this.#isStopping) this.#death = `a server process ended with ${signal ?? String(code)}`
        resolve()
      })
    })
  }

  /** What it said about itself when it was stopped. */
  get report(): EchoReport | undefined {
    return this.#report
  }

  /** Unhandled rejections of the process, and its end if it came unasked. */
  get unhandled(): readonly string[] {
    return [...(this.#report?.unhandled ?? []), ...(this.#death === undefined ? [] : [this.#death])]
  }

  /** Resolves when requests can arrive. */
  async open(): Promise<void> {
    const ended = this.#exit.then(() => Promise.reject(new Error(this.#death ?? 'a server process ended')))
    ended.catch(() => undefined)
    const answer = await within(OPEN_LIMIT_MS, 'server process', Promise.race([this.#next('open'), ended]))
    if ('error' in answer) throw new Error(`server process: ${answer.error}`)
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    this.#isStopping = true
    this.#child.kill('SIGKILL')
    await this.#exit
  }

  /** Ends it as a service would be, and takes its report; bounded. */
  async stop(): Promise<void> {
    if (this.#isStopping) return
    this.#isStopping = true
    if (this.#child.connected) {
      const told = this.#next('report')
      this.#child.send('stop', () => undefined)
      await within(REPORT_LIMIT_MS, 'report', Promise.race([told, this.#exit])).catch(() => undefined)
    }
    await this.kill()
  }

  #next(about: EchoAnswer['about']): Promise<EchoAnswer> {
    return new Promise((resolve) => this.#waiting.set(about, resolve))
  }

  #onAnswer(answer: EchoAnswer): void {
    if (answer.about === 'executed') {
      for (const value of answer.values) this.#onExecuted(value)
      return
    }
    if (answer.about === 'report') this.#report = answer.report
    this.#waiting.get(answer.about)?.(answer)
    this.#waiting.delete(answer.about)
  }
}
