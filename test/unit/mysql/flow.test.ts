import { describe, expect, test } from 'vitest'
import {
  judgeFlow,
  parseProcessList,
  processListSql,
  type FlowSighting,
  type ProcessList,
} from '../../../src/mysql/flow.js'

const flow = { threadId: 7, localPort: 40_000, memberId: undefined, traffic: 100 }
const list = (...threads: ProcessList['threads'][number][]): ProcessList => ({
  server: 'a',
  memberId: 'm1',
  threads,
})
const asleep = { id: 7, clientPort: 40_000, isAsleep: true }
const busy = { ...asleep, isAsleep: false }
const seen = (changes: Partial<FlowSighting> = {}): FlowSighting => ({
  server: 'a',
  isAsleep: true,
  traffic: 100,
  ...changes,
})
const alive = { lost: undefined }
const lost = { lost: expect.any(String) as string }

describe('a connection on which an answer is due', () => {
  test.each<[string, FlowSighting | undefined, ProcessList, object]>([
    ['runs its statement', undefined, list(busy), { ...alive, sighting: seen({ isAsleep: false }) }],
    ['runs it still', seen({ isAsleep: false }), list(busy), alive],
    [
      'sleeps for the first time: the answer may be on its way',
      undefined,
      list(asleep),
      { ...alive, sighting: seen() },
    ],
    ['has fallen asleep since', seen({ isAsleep: false }), list(asleep), { ...alive, sighting: seen() }],
    ['sleeps twice', seen(), list(asleep), lost],
    ['runs after it slept: the statement was on its way', seen(), list(busy), alive],
    ['sleeps, but bytes came meanwhile', seen({ traffic: 99 }), list(asleep), { ...alive, sighting: seen() }],
    ['slept on another server', seen({ server: 'b' }), list(asleep), { ...alive, sighting: seen() }],
    ['is gone', seen({ isAsleep: false }), list(), lost],
    ['is gone, but bytes came meanwhile', seen({ traffic: 99 }), list(), { ...alive, sighting: seen() }],
    ['was seen on another server', seen({ server: 'b' }), list(), { ...alive, sighting: undefined }],
    ['was never seen', undefined, list(), { ...alive, sighting: undefined }],
    ['has its id on another client', undefined, list({ ...asleep, clientPort: 1 }), { ...alive, sighting: undefined }],
  ])('%s', (_name, before, threads, verdict) => {
    expect(judgeFlow(before, flow, threads)).toMatchObject(verdict)
  })

  test('is known by its member of the cluster where a proxy hides the port', () => {
    const behindProxy = list({ ...asleep, clientPort: 1 })
    expect(judgeFlow(seen(), { ...flow, memberId: 'm1' }, behindProxy)).toMatchObject(lost)
    expect(judgeFlow(undefined, { ...flow, memberId: 'm2' }, behindProxy)).toMatchObject(alive)
  })
})

describe('the process list', () => {
  const row = (changes: object): object => ({
    server: 'h 3306 /d',
    member: 'm1',
    id: 7,
    host: '10.0.0.1:40000',
    command: 'Sleep',
    ...changes,
  })

  test('is asked for the threads in question and the asking one', () => {
    expect(processListSql([7, 8], true)).toMatch(/WHERE ID IN \(CONNECTION_ID\(\), 7, 8\)$/)
  })

  test('is read as MySQL and MariaDB send it, with addresses, names and IPv6', () => {
    const rows = [row({}), row({ id: 8n, host: 'web1:41000', command: 'Query' }), row({ id: 9, host: '::1:42000' })]
    expect(parseProcessList(rows)).toEqual({
      server: 'h 3306 /d',
      memberId: 'm1',
      threads: [
        { id: 7, clientPort: 40_000, isAsleep: true },
        { id: 8, clientPort: 41_000, isAsleep: false },
        { id: 9, clientPort: 42_000, isAsleep: true },
      ],
    })
  })

  test('without a row, or with a thread that has no port, says nothing', () => {
    expect(parseProcessList([])).toBeUndefined()
    expect(parseProcessList([row({ host: 'localhost' })])?.threads).toMatchObject([{ clientPort: 0 }])
  })
})
