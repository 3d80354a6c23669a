import { nodes } from '../../test/cluster/index.js'
import { probeNode, type Workload } from '../../test/harness/index.js'
import type { TokenService } from './token-service.js'

const REFRESH_MS = 500
const KEPT_LINES = 8
const EVERY_SECOND = 2

const green = (text: string): string => `\u001b[32m${text}\u001b[0m`
const red = (text: string): string => `\u001b[31m${text}\u001b[0m`
const bold = (text: string): string => `\u001b[1m${text}\u001b[0m`

interface Mark {
  readonly name: string
  readonly isUp: boolean
  readonly isInUse: boolean
}

/**
 * Shows the running service: redrawn in place on a terminal, one plain line per second elsewhere.
 */
export class Screen {
  readonly #service: TokenService
  readonly #load: Workload
  readonly #isTerminal: boolean = process.stdout.isTTY && process.env['NO_COLOR'] === undefined
  readonly #startedAt: number = performance.now()
  #log: string[] = []
  #drawnLines = 0
  #ticks = 0
  /** Brokers that do not answer: the transport does not look at those that it does not use. */
  #deadBrokers: readonly string[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(service: TokenService, load: Workload) {
    this.#service = service
    this.#load = load
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), REFRESH_MS)
  }

  stop(): void {
    clearInterval(this.#timer)
    if (this.#isTerminal) this.#draw()
  }

  /** A line of the story. */
  say(line: string): void {
    const text = `${this.#elapsed()}  ${line}`
    if (!this.#isTerminal) console.log(text)
    this.#log = [...this.#log, text].slice(-KEPT_LINES)
    if (this.#isTerminal) this.#draw()
  }

  #tick(): void {
    this.#ticks += 1
    void this.#lookAtBrokers()
    if (this.#isTerminal) this.#draw()
    else if (this.#ticks % EVERY_SECOND === 0)
      console.log(`${this.#elapsed()}  ${this.#figures()} | ${this.#nodesPlain()}`)
  }

  async #lookAtBrokers(): Promise<void> {
    const answers = await Promise.all(
      nodes('rabbit').map(async ({ n, host, port }) => ({
        name: `${host}:${port}`,
        answer: await probeNode('rabbit', n),
      })),
    )
    this.#deadBrokers = answers.filter(({ answer }) => answer !== 'answers').map(({ name }) => name)
  }

  #draw(): void {
    const lines = [
      bold('openstack-ha: a token service while its servers are killed'),
      `${this.#elapsed()}  ${this.#figures()}`,
      ...this.#groups().map(([title, marks]) => `  ${title.padEnd(11)}${marks.map((mark) => colour(mark)).join('  ')}`),
      '',
      ...this.#log,
    ]
    const up = this.#drawnLines === 0 ? '' : `\u001b[${this.#drawnLines}A`
    process.stdout.write(`${up}${lines.map((line) => `\u001b[2K${line}\n`).join('')}\u001b[J`)
    this.#drawnLines = lines.length
  }

  #elapsed(): string {
    return `${((performance.now() - this.#startedAt) / 1000).toFixed(1).padStart(5)} s`
  }

  #figures(): string {
    const to = performance.now()
    const window = { from: to - 1000, to }
    const { recorder } = this.#load
    const { p50Ms, p99Ms } = recorder.latency(window)
    const rate = `${String(recorder.countIn(window)).padStart(3)} requests/s`
    return `${rate}, ${recorder.errorCount} errors, latency p50 ${p50Ms.toFixed(0)} ms p99 ${p99Ms.toFixed(0)} ms, ${this.#load.running} waiting`
  }

  #groups(): readonly (readonly [string, readonly Mark[]])[] {
    const { db, transport, cache } = this.#service
    const { writer, hosts } = db.status()
    const { connections, hosts: brokers } = transport.status()
    return [
      [
        'database',
        hosts.map(({ host, unfit }) => ({ name: host, isUp: unfit === undefined, isInUse: host === writer.host })),
      ],
      [
        'broker',
        brokers.map(({ host }) => ({
          name: host,
          isUp: !this.#deadBrokers.includes(host),
          isInUse: host === connections.publisher.host && connections.publisher.state === 'connected',
        })),
      ],
      [
        'cache',
        cache.status().hosts.map(({ host, state }) => ({ name: host, isUp: state === 'live', isInUse: false })),
      ],
    ]
  }

  #nodesPlain(): string {
    return this.#groups()
      .map(([title, marks]) => {
        const writer = marks.find(({ isInUse }) => isInUse)?.name
        const up = marks.filter(({ isUp }) => isUp).length
        return `${title} ${up}/${marks.length} up${writer === undefined ? '' : ` on ${writer}`}`
      })
      .join(', ')
  }
}

function colour({ name, isUp, isInUse }: Mark): string {
  const text = `${isUp ? '●' : '○'} ${name}${isInUse ? '*' : ' '}`
  return isUp ? (isInUse ? bold(green(text)) : green(text)) : red(text)
}
