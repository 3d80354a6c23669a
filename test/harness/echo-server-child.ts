/** Serves the method `counted`, which answers what it is given, and tells its parent what it was given. */
import { subscribe } from 'node:diagnostics_channel'
import { createTransport, type RpcServer, type TransportOptions } from '../../src/amqp/index.js'
import type { ProgramAnswer } from './forked-program.js'
import { inWords } from './recorder.js'
import { watchUnhandled } from './unhandled.js'

/** What the parent asks for, as the only argument; any message means that it shall end. */
export interface EchoRequest {
  readonly topic: string
  readonly server: string
  /** When a request is acknowledged. */
  readonly acknowledge: 'before' | 'after'
  /** True for a method that never answers. */
  readonly isStuck: boolean
  readonly transport: TransportOptions
}

/** What the parent is told. */
export type EchoAnswer = ProgramAnswer<EchoReport> | EchoNews

/** What requests brought. */
export interface EchoNews {
  readonly about: 'executed'
  readonly values: readonly unknown[]
}

/** How it went. */
export interface EchoReport {
  readonly unhandled: readonly string[]
  readonly failed: number
  readonly duplicates: number
  readonly malformed: number
  /** Replies that were given up. */
  readonly repliesLost: number
}

const TELL_EVERY_MS = 20

// A parent that is gone, however it went, leaves nobody behind.
process.on('disconnect', () => process.exit(1))

const request = JSON.parse(process.argv[2] ?? 'null') as EchoRequest
const unhandled = watchUnhandled()
const transport = createTransport(request.transport)
let executed: unknown[] = []
let repliesLost = 0
subscribe('openstack-ha:amqp:replyLost', () => (repliesLost += 1))

const endpoint = {
  counted: async (_context: unknown, { value }: { readonly value?: unknown }): Promise<unknown> => {
    executed.push(value)
    if (request.isStuck) await new Promise(() => undefined)
    return value
  },
  /** For those who only look whether requests are taken. */
  ignore: () => undefined,
}

try {
  const { topic, server, acknowledge } = request
  const serving = await transport.rpcServer({ topic, server }, endpoint, { acknowledge })
  setInterval(() => void tell(), TELL_EVERY_MS)
  process.on('message', () => void stop(serving))
  await send({ about: 'open' })
} catch (error) {
  await send({ about: 'open', error: inWords(error) })
  process.exit(1)
}

async function stop(serving: RpcServer): Promise<void> {
  await transport.close({ timeoutMs: 3000 })
  // Messages go in order: this one is behind everything that was executed.
  await tell()
  const { failed, duplicates, malformed } = serving.status()
  await send({
    about: 'report',
    report: { unhandled: unhandled.errors.map(inWords), failed, duplicates, malformed, repliesLost },
  })
  process.exit(0)
}

async function tell(): Promise<void> {
  if (executed.length === 0) return
  const values = executed
  executed = []
  await send({ about: 'executed', values })
}

function send(message: EchoAnswer): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve()
    else process.send(message, () => resolve())
  })
}
