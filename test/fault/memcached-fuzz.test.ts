import type { OnReadOpts, Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { Batch } from '../../src/memcached/batch.js'
import type { Call } from '../../src/memcached/calls.js'
import { askForMany } from '../../src/memcached/multi-get.js'
import type { CacheNode } from '../../src/memcached/node.js'
import type { Router } from '../../src/memcached/router.js'
import { openMetaTransport } from '../../src/memcached/meta-driver.js'
import type { Operation, Reply, Transport, TransportOptions } from '../../src/memcached/transport.js'
import { Random } from '../harness/random.js'
import { ScriptedSocket } from './scripted-socket.js'

const sockets: ScriptedSocket[] = []
vi.mock('node:net', async (original) => ({
  ...(await original<object>()),
  connect: ({ onread }: { readonly onread: OnReadOpts }): Socket => {
    const socket = new ScriptedSocket(onread)
    sockets.push(socket)
    return socket as unknown as Socket
  },
}))

const CASES = 100_000
const SEED = 20_260_807
/** Connections that were left without an answer end by their time limit; so many of them wait for it together. */
const BLOCK = 500
const LIMIT_MS = 50
const OPTIONS = {
  server: { name: 'h1:11211', host: 'h1', port: 11211 },
  connectTimeoutMs: LIMIT_MS,
  operationTimeoutMs: LIMIT_MS,
  maxValueBytes: 1024 * 1024,
} as unknown as TransportOptions
/** The likeliest to be taken for the protocol. */
const FILLERS = ['', '\r\n', 'EN\r\n', 'VA 3 f16 O0\r\nabc\r\n', 'HD\r\nVA 1', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', '\r\nVA 9 f16 O1\r\n'] // prettier-ignore

class Request implements Operation {
  readonly kind: 'get' | 'set' | 'delete'
  readonly key: string
  readonly hash = 0
  readonly wantsCas = false
  readonly payload: Operation['payload']
  sentAt = 0
  endCount = 0
  hasAnswer = false
  cas = 0
  value: string | undefined

  constructor(kind: Request['kind'], key: string) {
    this.kind = kind
    this.key = key
    this.payload = kind === 'set' ? { data: 'v', size: 1, flags: 16, expiry: 0 } : undefined
  }

  done(reply: Reply): void {
    this.endCount += 1
    this.hasAnswer = true
    this.cas = reply.cas
    if (reply.status === 'value') this.value = reply.bytes.toString('latin1', reply.start, reply.end)
  }

  fail(): void {
    this.endCount += 1
  }
}

/** A call for several keys of one node; those that it leaves open are given up. */
class ManyRequest {
  readonly keys: readonly string[]
  found: ReadonlyMap<string, unknown> = new Map()
  endCount = 0
  failedCount = 0

  constructor(keys: readonly string[], transport: Transport) {
    this.keys = keys
    const node = { index: 0, watermark: 0, placeOf: () => 0, submit: (one: Operation) => transport.submit(one) }
    const router = {
      counters: { hitCount: 0, missCount: 0 },
      home: () => node as unknown as CacheNode,
      began: () => undefined,
      ended: () => undefined,
      takeOver: (call: Call) => call.reject(new Error('given up')),
    }
    const batch = new Batch<unknown>(false)
    const end = (found: ReadonlyMap<string, unknown>, failedCount: number): void => {
      this.found = found
      this.failedCount = failedCount
      this.endCount += 1
    }
    batch.promise.then(
      (found) => end(found, found.failed.size),
      () => end(new Map(), keys.length),
    )
    askForMany(keys, { keyPrefix: '', longKeys: 'refuse' }, router as unknown as Router, batch)
  }
}

/** Tells the answers to requests that get no value apart: the CAS id. */
const casOf = (key: string): number => Number(/\.(\d+)/.exec(key)?.[1]) + 1

/** The answer that a server would give to each request that was written; keys that end in `-` have no value. */
function answersTo(written: Buffer, random: Random): Buffer[] {
  const answers: Buffer[] = []
  for (const [, verb, key = '', more = '', tag = ''] of written
    .toString('latin1')
    .matchAll(/(mg|ms|md|get) (\S+)([^\r]*?)( O\d+)?\r\n/g)) {
    if (verb === 'get') {
      const present = `${key}${more}`.split(' ').filter((each) => !each.endsWith('-'))
      for (const each of present) {
        const body = `${each}|${random.pick(FILLERS)}`
        answers.push(Buffer.from(`VALUE ${each} 16 ${body.length}\r\n${body}\r\n`, 'latin1'))
      }
      answers.push(Buffer.from('END\r\n', 'latin1'))
      continue
    }
    const body = `${key}|${random.pick(FILLERS)}${random.pick(FILLERS)}`
    const value = `VA ${body.length} f16${tag}\r\n${body}\r\n`
    const done = `HD c${casOf(key)}${tag}\r\n`
    answers.push(Buffer.from(verb === 'mg' ? (key.endsWith('-') ? 'EN\r\n' : value) : done, 'latin1'))
  }
  return answers
}

/** What becomes of the answers on their way: the chunks that arrive, and whether the stream is still what was sent. */
interface Delivery {
  readonly chunks: readonly Buffer[]
  readonly isWhole: boolean
  readonly ends?: boolean
}

type Mangle = (answers: readonly Buffer[], at: number, random: Random) => Delivery

const all = (answers: readonly Buffer[]): Buffer => Buffer.concat(answers)

function cutAt(stream: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...places].sort((a, b) => a - b)
  return [0, ...sorted].map((from, i) => stream.subarray(from, sorted[i] ?? stream.length))
}

/** `at` runs through every byte of the stream. */
const MANGLES: Readonly<Record<string, Mangle>> = {
  merged: (answers) => ({ chunks: [all(answers)], isWhole: true }),
  'cut once': (answers, at) => ({ chunks: cutAt(all(answers), [at]), isWhole: true }),
  'cut often': (answers, at, random) => {
    const stream = all(answers)
    const places = Array.from({ length: 4 }, () => Math.floor(random.between(0, stream.length)))
    return { chunks: cutAt(stream, [at, ...places]), isWhole: true }
  },
  'byte by byte': (answers) => ({ chunks: [...all(answers)].map((byte) => Buffer.of(byte)), isWhole: true }),
  'ended early': (answers, at) => ({ chunks: [all(answers).subarray(0, at)], isWhole: false, ends: true }),
  'held back': (answers, at) => ({ chunks: [all(answers).subarray(0, at)], isWhole: false }),
  'sent twice': (answers, at, random) => {
    const from = at % answers.length
    const behind = Math.floor(random.between(from, answers.length))
    const sent = [...answers.slice(0, behind + 1), ...answers.slice(from, from + 1), ...answers.slice(behind + 1)]
    const stream = all(sent)
    return { chunks: cutAt(stream, [at % stream.length]), isWhole: false }
  },
  'lost one': (answers, at) => ({
    chunks: cutAt(all(answers.filter((_, i) => i !== at % answers.length)), []),
    isWhole: false,
  }),
  'begun again': (answers, at) => {
    let from = 0
    const which = answers.findIndex((answer) => (from += answer.length) > at)
    const before = all(answers.slice(0, which))
    const head = all(answers).subarray(before.length, at)
    return { chunks: [before, head, all(answers.slice(which))], isWhole: false }
  },
  'in another order': (answers, at) => {
    const first = at % answers.length
    return { chunks: [all([...answers.slice(first), ...answers.slice(0, first)])], isWhole: first === 0 }
  },
}

interface Case {
  readonly name: string
  readonly requests: readonly Request[]
  readonly manys: readonly ManyRequest[]
  readonly transport: Transport
  readonly isWhole: boolean
}

function begin(number: number, random: Random): Omit<Case, 'name' | 'isWhole'> & { readonly socket: ScriptedSocket } {
  const transport = openMetaTransport(OPTIONS, { onReady: () => undefined, onDown: () => undefined })
  const socket = sockets.pop() as ScriptedSocket
  socket.emit('connect')
  const requests: Request[] = []
  const manys: ManyRequest[] = []
  const missing = (): string => (random.next() < 0.2 ? '-' : '')
  const count = 1 + Math.floor(random.between(0, 6))
  for (let i = 0; i < count; i += 1) {
    const kind = random.pick(['get', 'get', 'getMany', 'set', 'delete'] as const)
    const key = `k${number}.${i}`
    if (kind === 'getMany')
      manys.push(
        new ManyRequest(
          [0, 1, 2].map((n) => `${key}m${n}${missing()}`),
          transport,
        ),
      )
    else {
      const request = new Request(kind, `${key}${missing()}`)
      requests.push(request)
      transport.submit(request)
    }
  }
  return { requests, manys, transport, socket }
}

/** What is wrong with how the requests of a case have ended, once they all must have. */
function faultsOf({ name, requests, isWhole }: Case): string[] {
  return requests.flatMap(({ kind, key, endCount, hasAnswer, cas, value }) => {
    const where = `${name}: ${kind} ${key}`
    if (endCount !== 1) return [`${where} ended ${endCount} times`]
    if (isWhole && !hasAnswer) return [`${where} was answered, and failed`]
    if (isWhole && kind === 'get' && key.endsWith('-') !== (value === undefined)) return [`${where} found ${value}`]
    const isForeign = kind !== 'get' && hasAnswer && cas !== casOf(key)
    if (isForeign && name !== 'begun again') return [`${where} was told done by the answer to another request`]
    if (value === undefined) return []
    return isIntact(key, value, name) ? [] : [`${where} got ${JSON.stringify(value)}`]
  })
}

function faultsOfMany({ name, manys, isWhole }: Case): string[] {
  return manys.flatMap(({ keys, found, endCount, failedCount }) => {
    const where = `${name}: getMany ${keys.join(' ')}`
    if (endCount !== 1) return [`${where} ended ${endCount} times`]
    const present = keys.filter((key) => !key.endsWith('-'))
    if (isWhole && (failedCount > 0 || found.size !== present.length)) return [`${where} found ${found.size}`]
    const wrong = [...found].filter(([key, value]) => !isIntact(key, value as string, name))
    return wrong.map(([key, value]) => `${where} got ${JSON.stringify(value)} for ${key}`)
  })
}

/** No protocol without checksums can tell that bytes were repeated within a value; all else must be intact. */
function isIntact(key: string, value: string, name: string): boolean {
  const isForeign = [...value.matchAll(/(k\d+\.\d(?:m\d)?-?)\|/g)].some(([, owner]) => owner !== key)
  return !isForeign && (name === 'begun again' || value.startsWith(`${key}|`))
}

test(
  `${CASES} streams that are cut, merged, held back, repeated, shuffled or ended at every byte: never the value of another key, never another's acknowledgement, never a request without an end (seed ${SEED})`,
  { timeout: 180_000 },
  async () => {
    const random = new Random(SEED)
    const names = Object.keys(MANGLES)
    const faults: string[] = []
    for (let number = 0; number < CASES; number += BLOCK) {
      const cases: Case[] = []
      for (let i = number; i < number + BLOCK; i += 1) {
        const { requests, manys, transport, socket } = begin(i, random)
        // The requests of a turn are written at its end.
        await new Promise((resolve) => process.nextTick(resolve))
        const answers = answersTo(socket.take(), random)
        const name = names[i % names.length] as string
        const at = Math.floor(i / names.length) % all(answers).length
        const { chunks, isWhole, ends } = (MANGLES[name] as Mangle)(answers, at, random)
        for (const chunk of chunks) socket.deliver(chunk)
        if (ends === true && !socket.destroyed) socket.emit('end')
        cases.push({ name, requests, manys, transport, isWhole })
      }
      await expect
        .poll(() => cases.filter(({ transport }) => transport.pending > 0).length, { timeout: 20_000, interval: 10 })
        .toBe(0)
      for (const one of cases) one.transport.cut(new Error('the case is over'))
      // A batch tells its end to those who wait for its promise.
      await new Promise((resolve) => setImmediate(resolve))
      faults.push(...cases.flatMap(faultsOf), ...cases.flatMap(faultsOfMany))
    }
    expect(faults.slice(0, 5)).toEqual([])
  },
)
