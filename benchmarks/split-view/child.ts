/** One client process of the split-view measurement: does what its parent says, and meanwhile reads everything again and again. */
import { createClient } from '../../src/memcached/index.js'
import type { ChildRequest, ClassSeen, Setup } from './index.js'

const PAUSE_MS = 5
/** Of which version a key was read: how often, and when last. A key that was not found has version 0. */
const seen = new Map<string, ClassSeen>()

const setup = JSON.parse(process.argv[2] ?? 'null') as Setup
const { servers, localAddress, keys } = setup
const client = createClient({ env: {}, servers, localAddress })
let isReading = true

process.on('disconnect', () => process.exit())
process.on('message', (request: ChildRequest) => {
  void perform(request).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ problem: error instanceof Error ? error.message : String(error) }),
  )
})
await client.ready()
process.send?.({ isReady: true })
void read()

async function perform(request: ChildRequest): Promise<object> {
  switch (request.verb) {
    case 'write':
      await Promise.all(request.keys.map((key) => client.set(key, request.version)))
      return {}
    case 'forget':
      seen.clear()
      return {}
    case 'report':
      isReading = false
      return { seen: [...seen.values()] }
  }
}

async function read(): Promise<void> {
  while (isReading) {
    const found = await client.getMany<number>(keys).catch(() => undefined)
    if (found !== undefined) for (const key of keys) note(key, found.get(key) ?? 0)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}

function note(key: string, version: number): void {
  const group = key.slice(0, key.indexOf(':'))
  const before = seen.get(`${group} ${version}`)
  const at = Date.now()
  const firstAt = before?.firstAt ?? at
  seen.set(`${group} ${version}`, { group, version, count: (before?.count ?? 0) + 1, firstAt, lastAt: at })
}
