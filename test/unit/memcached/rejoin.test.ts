import { describe, expect, test } from 'vitest'
import { ServerBusyError } from '../../../src/memcached/errors.js'
import { HeirMarks } from '../../../src/memcached/heir-marks.js'
import { Journal } from '../../../src/memcached/journal.js'
import { rejoin, type Readmission, type ReturningNode } from '../../../src/memcached/rejoin.js'
import { NO_REPLY, type Operation, type Reply, type Transport } from '../../../src/memcached/transport.js'

function reply(cas: number, error?: Error): Reply {
  return { ...NO_REPLY, status: 'done', cas, error }
}

/** A node that answers at once, with its next CAS id to every mark. */
class StubTransport implements Transport {
  readonly pending = 0
  readonly address = undefined
  readonly asked: string[] = []
  onAsked: (operation: Operation) => void = () => undefined
  cas: number

  constructor(cas: number) {
    this.cas = cas
  }

  submit(operation: Operation): void {
    this.asked.push(operation.kind === 'delete' ? `delete ${operation.key}` : operation.kind)
    this.onAsked(operation)
    operation.done(reply(operation.wantsCas && this.cas > 0 ? this.cas++ : 0))
  }

  cut(): void {
    throw new Error('not expected')
  }
}

async function admitted(transport: Transport, node: Partial<ReturningNode>): Promise<Readmission | undefined> {
  let result: Readmission | undefined
  await rejoin(
    transport,
    {
      policy: 'safe',
      journal: new Journal(10_000),
      lastCas: 10,
      watermark: 0,
      isElsewhere: false,
      mustSettle: false,
      outMs: () => 500,
      pause: () => Promise.resolve(),
      copyFromHeir: () => Promise.resolve(undefined),
      ...node,
    },
    (readmission) => (result = readmission),
  )
  return result
}

function journalOf(...keys: string[]): Journal {
  const journal = new Journal(10_000)
  for (const key of keys) journal.add(key)
  return journal
}

describe('rejoin', () => {
  test('after a short absence the keys that were changed elsewhere are deleted, all others keep their values', async () => {
    const transport = new StubTransport(50)
    const journal = journalOf('a', 'b')
    expect(await admitted(transport, { journal })).toEqual({ lastCas: 50, watermark: 0 })
    expect(transport.asked).toEqual(['set', 'delete a', 'delete b'])
    expect(journal.size).toBe(0)
  })

  test('keys that are changed during the replay are deleted too, before the node is used', async () => {
    const transport = new StubTransport(50)
    const journal = journalOf('a')
    transport.onAsked = ({ key }) => {
      if (key === 'a') journal.add('late')
    }
    let sizeWhenAdmitted: number | undefined
    const node = { journal, policy: 'safe', lastCas: 0, watermark: 0, mustSettle: false } as const
    const waits = {
      isElsewhere: false,
      outMs: () => 0,
      pause: () => Promise.resolve(),
      copyFromHeir: () => Promise.resolve(undefined),
    }
    await rejoin(transport, { ...node, ...waits }, () => (sizeWhenAdmitted = journal.size))
    expect(transport.asked).toEqual(['set', 'delete a', 'delete late'])
    expect(sizeWhenAdmitted).toBe(0)
  })

  test('after a long absence all that the node holds counts as a miss', async () => {
    const transport = new StubTransport(50)
    expect(await admitted(transport, { outMs: () => 10_001 })).toEqual({ lastCas: 50, watermark: 50 })
  })

  test('a watermark of an earlier return holds on', async () => {
    expect(await admitted(new StubTransport(50), { watermark: 30 })).toEqual({ lastCas: 50, watermark: 30 })
  })

  test('a node that was restarted is empty and needs no watermark', async () => {
    const transport = new StubTransport(2)
    expect(await admitted(transport, { outMs: () => 60_000, watermark: 9 })).toEqual({ lastCas: 2, watermark: 0 })
  })

  test('when the journal has overflowed, all that the node holds counts as a miss, also after a restart', async () => {
    const journal = new Journal(10)
    journal.add('too much')
    expect(await admitted(new StubTransport(50), { journal })).toEqual({ lastCas: 51, watermark: 51 })
    journal.add('too much')
    expect(await admitted(new StubTransport(2), { journal })).toEqual({ lastCas: 3, watermark: 3 })
    expect(journal.hasOverflowed).toBe(false)
  })

  test('a journal that fills as fast as it empties ends with a watermark', async () => {
    const transport = new StubTransport(50)
    const journal = journalOf('0')
    let n = 0
    transport.onAsked = ({ kind }) => {
      if (kind === 'delete') journal.add(`${++n}`)
    }
    expect(await admitted(transport, { journal })).toEqual({ lastCas: 51, watermark: 51 })
    expect(journal.size).toBe(0)
  })

  test('a node that a write may still wait in is left alone for a while first', async () => {
    const transport = new StubTransport(50)
    const pauses: [number, number][] = []
    const pause = (ms: number): Promise<void> => {
      pauses.push([ms, transport.asked.length])
      return Promise.resolve()
    }
    await admitted(transport, { mustSettle: true, pause })
    expect(pauses).toEqual([[100, 1]])
    expect(transport.asked).toEqual(['set', 'set'])
  })

  test('a server without CAS is flushed where its values would have to be judged by age', async () => {
    const transport = new StubTransport(0)
    expect(await admitted(transport, { outMs: () => 60_000 })).toEqual({ lastCas: 0, watermark: 0 })
    expect(transport.asked).toEqual(['set', 'flush'])
    const journal = journalOf('a')
    const late = new StubTransport(0)
    late.onAsked = ({ kind }) => {
      if (kind === 'delete') for (let i = 0; !journal.hasOverflowed; i += 1) journal.add(`late ${i}`)
    }
    expect(await admitted(late, { journal })).toEqual({ lastCas: 0, watermark: 0 })
    expect(late.asked).toEqual(['set', 'delete a', 'flush'])
  })

  test("the policy 'flush' empties the node, 'trust' asks for nothing", async () => {
    const flushed = new StubTransport(50)
    const journal = journalOf('a')
    await admitted(flushed, { policy: 'flush', journal })
    expect(flushed.asked).toEqual(['set', 'flush'])
    expect(journal.size).toBe(0)
    const trusted = new StubTransport(50)
    await admitted(trusted, { policy: 'trust' })
    expect(trusted.asked).toEqual([])
  })

  test('a refused deletion keeps the node out and the key in the journal', async () => {
    const journal = journalOf('a')
    const transport = new StubTransport(50)
    transport.submit = (operation) =>
      operation.done(operation.kind === 'delete' ? reply(0, new Error('out of memory')) : reply(50))
    await expect(admitted(transport, { journal })).rejects.toThrow('out of memory')
    expect(journal.size).toBe(1)
  })
})

describe('a server whose memory is full', () => {
  class FullTransport extends StubTransport {
    override submit(operation: Operation): void {
      if (operation.payload === undefined) {
        super.submit(operation)
        return
      }
      this.asked.push(`refused ${operation.kind}`)
      operation.done(reply(0, new ServerBusyError('h1:11211', 'out of memory storing object')))
    }
  }

  test('it is used again, without what was changed elsewhere', async () => {
    const transport = new FullTransport(50)
    expect(await admitted(transport, { journal: journalOf('a'), watermark: 30 })).toEqual({ lastCas: 0, watermark: 30 })
    expect(transport.asked).toEqual(['refused set', 'delete a'])
  })

  test('where its values would have to be judged by age it is flushed', async () => {
    const transport = new FullTransport(50)
    expect(await admitted(transport, { outMs: () => 60_000 })).toEqual({ lastCas: 0, watermark: 0 })
    expect(transport.asked).toEqual(['refused set', 'flush'])
  })

  test('what it has no room for is not copied to it', async () => {
    const transport = new FullTransport(50)
    const payload = { data: 'v', size: 1, flags: 16, expiry: 0 }
    const readmission = await admitted(transport, {
      journal: journalOf('a'),
      copyFromHeir: () => Promise.resolve(payload),
    })
    expect(readmission).toEqual({ lastCas: 0, watermark: 0 })
    expect(transport.asked).toEqual(['refused set', 'delete a', 'refused add'])
  })
})

test('an heir is asked for a few copies at a time, however many keys were changed', async () => {
  const journal = journalOf(...Array.from({ length: 100 }, (_, i) => `key ${i}`))
  let [running, most] = [0, 0]
  const copyFromHeir = async (): Promise<undefined> => {
    most = Math.max(most, (running += 1))
    await Promise.resolve()
    running -= 1
  }
  const transport = new StubTransport(50)
  await admitted(transport, { journal, copyFromHeir })
  expect(transport.asked.length).toBe(101)
  expect(most).toBe(32)
})

describe('HeirMarks', () => {
  const nodes = [
    { index: 0, absences: 1 },
    { index: 1, absences: 4 },
  ] as const

  test('no value counts before the mark is answered, then only those that were stored after it', () => {
    const marks = new HeirMarks()
    const mark = marks.take([nodes[0]], () => undefined)
    expect(marks.isYounger(1_000_000, [nodes[0]])).toBe(false)
    mark.done(reply(7))
    expect(marks.isYounger(7, [nodes[0]])).toBe(false)
    expect(marks.isYounger(8, [nodes[0]])).toBe(true)
    expect(marks.isYounger(8, nodes)).toBe(false)
  })

  test('the answer to the mark of an earlier absence counts for nothing', () => {
    const marks = new HeirMarks()
    const node = { index: 0, absences: 1 }
    const first = marks.take([node], () => undefined)
    node.absences = 2
    const second = marks.take([node], () => undefined)
    first.done(reply(7))
    expect(marks.isYounger(8, [node])).toBe(false)
    second.done(reply(9))
    expect(marks.isYounger(10, [node])).toBe(true)
  })
})
