/** One of the processes that consume: tells its parent what it handles, until that says stop, or is gone. */
import { setTimeout as pause } from 'node:timers/promises'
import { connections } from './connections.js'
import type { ProgramAnswer, ProgramOrder } from './forked-program.js'
import { monotonicMs, onSharedClock } from './monotonic.js'
import { inWords } from './recorder.js'
import type { MessagePlace, MessageSubject, ReportedFailover } from './subject.js'
import { within } from './timing.js'
import { watchUnhandled } from './unhandled.js'

/** What the parent asks for, as the only argument. */
export interface ConsumerRequest {
  /** Module with a function `messageSubject(name)`. */
  readonly module: string
  readonly client: string
  readonly place: MessagePlace
  /** `host:port` that it has to be connected to in the beginning. */
  readonly host: string | undefined
  /** Longest time that a message is worked on; each takes a random part of it. */
  readonly handlerMs: number
}

/** What the parent is told. Times are those of the shared clock. */
export type ConsumerAnswer = ProgramAnswer<ConsumerReport> | ConsumerNews

/** What was handed to the application. */
export interface ConsumerNews {
  readonly about: 'handled'
  readonly messages: readonly (readonly [id: string, at: number])[]
}

/** How it went. */
export interface ConsumerReport {
  readonly failovers: readonly ReportedFailover[]
  readonly failoverCount: number
  readonly unhandled: readonly string[]
  readonly status: unknown
}

/** Clients that choose their host at random are made anew until they have chosen the wanted one. */
const MOST_ATTEMPTS = 40
const TELL_EVERY_MS = 20
const CLOSE_LIMIT_MS = 3000

// A parent that is gone, however it went, leaves nobody behind.
process.on('disconnect', () => process.exit(1))

const { module, client, place, host, handlerMs } = JSON.parse(process.argv[2] ?? 'null') as ConsumerRequest
const { messageSubject } = (await import(module)) as { messageSubject: (name: string) => MessageSubject }
const unhandled = watchUnhandled()
let handled: [id: string, at: number][] = []
let subject: MessageSubject | undefined

setInterval(flush, TELL_EVERY_MS)
process.on('message', (order: ProgramOrder) => void (order === 'report' ? report() : stop()))
try {
  subject = await openSubject()
  await tell({ about: 'open' })
} catch (error) {
  await tell({ about: 'open', error: inWords(error) })
}

async function openSubject(): Promise<MessageSubject> {
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; attempt += 1) {
    const candidate = messageSubject(client)
    await candidate.open(place)
    const hosts = [candidate.inUse?.() ?? connections().map(({ remote }) => remote)].flat()
    if (host === undefined || hosts.includes(host)) {
      await candidate.consume(handle)
      return candidate
    }
    await close(candidate)
  }
  throw new Error(`not connected to ${String(host)} in ${MOST_ATTEMPTS} attempts`)
}

async function handle(id: string): Promise<void> {
  handled.push([id, monotonicMs()])
  if (handlerMs > 0) await pause(Math.random() * handlerMs)
}

function flush(): void {
  if (handled.length === 0) return
  const messages = handled
  handled = []
  void tell({ about: 'handled', messages })
}

async function report(): Promise<void> {
  flush()
  const failovers = (subject?.failovers?.() ?? []).map(({ at, from, to, detectedMs, elapsedMs, cause }) => ({
    ...{ from, to, detectedMs, elapsedMs },
    ...(at === undefined ? {} : { at: onSharedClock(at) }),
    // An error has no text in JSON.
    ...(cause === undefined ? {} : { cause: inWords(cause) }),
  }))
  await tell({
    about: 'report',
    report: {
      failovers,
      failoverCount: subject?.failoverCount?.() ?? failovers.length,
      unhandled: unhandled.errors.map(inWords),
      status: subject?.report?.(),
    },
  })
}

async function stop(): Promise<void> {
  if (subject !== undefined) await close(subject)
  flush()
  // Messages go in order: this one is behind everything that was handled.
  await report()
  process.exit(0)
}

function close(candidate: MessageSubject): Promise<void> {
  return within(CLOSE_LIMIT_MS, 'closing', candidate.close()).catch(() => undefined)
}

function tell(answer: ConsumerAnswer): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) {
      resolve()
      return
    }
    process.send(answer, () => resolve())
  })
}
