import { expect, test } from 'vitest'
import { SeenRequests, type Outcome } from '../../../../src/amqp/oslo/seen-requests.js'

test('a request is not run again when so many came after it that its reply is forgotten', async () => {
  const seen = new SeenRequests()
  let runs = 0
  const work = (): Promise<Outcome> => {
    runs += 1
    return Promise.resolve({ reply: {}, bytes: 2 })
  }
  for (let id = 0; id < 20_000; id += 1) await seen.once(String(id), work).outcome
  expect(seen.size).toBeLessThanOrEqual(10_000)
  expect(seen.once('0', work)).toEqual({ outcome: undefined, isCopy: true })
  expect(seen.once('19999', work).isCopy).toBe(true)
  expect(runs).toBe(20_000)
})
