import type { ChildProcess } from 'node:child_process'
import { forkTypeScript } from './fork.js'
import { within } from './timing.js'

/** What a program says: `open` when it works, or why it does not, and `report` about itself, when it is asked and when it ends. */
export type ProgramAnswer<R> =
  { readonly about: 'open'; readonly error?: string } | { readonly about: 'report'; readonly report: R }

/** What the parent says. */
export type ProgramOrder = 'report' | 'stop'

interface Report {
  readonly unhandled: readonly string[]
}

const OPEN_LIMIT_MS = 45_000
const REPORT_LIMIT_MS = 5000
/** A program that does not end when it is told to is not waited for longer. */
const STOP_LIMIT_MS = 6000

/** A program of ours in a process of its own, as its parent sees it. `N` is what it tells beside {@link ProgramAnswer}. */
export class ForkedProgram<R extends Report, N extends { readonly about: string }> {
  readonly #name: string
  readonly #child: ChildProcess
  readonly #exit: Promise<void>
  readonly #onNews: (news: N) => void
  readonly #waiting = new Map<string, (answer: ProgramAnswer<R>) => void>()
  #report: R | undefined
  #isStopping = false
  #death: string | undefined

  /** `name` is for messages: `consumer process`. */
  constructor(name: string, program: string, request: unknown, onNews: (news: N) => void) {
    this.#name = name
    this.#onNews = onNews
    this.#child = forkTypeScript(program, request)
    this.#child.on('message', (answer) => this.#onAnswer(answer as ProgramAnswer<R> | N))
    this.#exit = new Promise((resolve) => {
      this.#child.on('exit', (code, signal) => {
        if (!this.#isStopping) this.#death = `a ${name} ended with ${signal ?? String(code)}`
        resolve()
      })
    })
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** What it said about itself when it was last asked. */
  get report(): R | undefined {
    return this.#report
  }

  /** Unhandled rejections of the process, and its end if it came unasked. */
  get unhandled(): readonly string[] {
    return [...(this.#report?.unhandled ?? []), ...(this.#death === undefined ? [] : [this.#death])]
  }

  /** Resolves when it works. */
  async open(): Promise<void> {
    const ended = this.#exit.then(() => Promise.reject(new Error(this.#death ?? `a ${this.#name} ended`)))
    ended.catch(() => undefined)
    const answer = await within(OPEN_LIMIT_MS, this.#name, Promise.race([this.#next('open'), ended]))
    if ('error' in answer) throw new Error(`${this.#name}: ${answer.error}`)
  }

  /** Asks it about itself. */
  async ask(): Promise<void> {
    if (!this.#child.connected) return
    const told = this.#next('report')
    this.#order('report')
    await within(REPORT_LIMIT_MS, 'report', told).catch(() => undefined)
  }

  /** Ends it as a service would be, and takes its report; bounded. */
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

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    this.#isStopping = true
    this.#child.kill('SIGKILL')
    await this.#exit
  }

  #order(order: ProgramOrder): void {
    this.#child.send(order, () => undefined)
  }

  #next(about: ProgramAnswer<R>['about']): Promise<ProgramAnswer<R>> {
    return new Promise((resolve) => this.#waiting.set(about, resolve))
  }

  #onAnswer(answer: ProgramAnswer<R> | N): void {
    if (!isAnswer(answer)) {
      this.#onNews(answer)
      return
    }
    if (answer.about === 'report') this.#report = answer.report
    this.#waiting.get(answer.about)?.(answer)
    this.#waiting.delete(answer.about)
  }
}

function isAnswer<R>(answer: ProgramAnswer<R> | { readonly about: string }): answer is ProgramAnswer<R> {
  return answer.about === 'open' || answer.about === 'report'
}
