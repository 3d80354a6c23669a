import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Outbox, type Held } from '../../src/amqp/outbox.js'

interface Item extends Held<Item> {
  readonly id: number
  isSettled: boolean
}

interface Model {
  readonly waiting: Item[]
  readonly taken: Item[]
}

const MAX_MESSAGES = 5
const MAX_BYTES = 100
type Step =
  | { readonly is: 'add'; readonly bytes: number }
  | { readonly is: 'take' }
  | { readonly is: 'putBack' }
  | { readonly is: 'append' }
  | { readonly is: 'release' }
  | { readonly is: 'settle'; readonly at: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ is: fc.constant('add' as const), bytes: fc.integer({ min: 0, max: 60 }) }),
  ...(['take', 'putBack', 'append', 'release'] as const).map((is) => fc.constant({ is })),
  fc.record({ is: fc.constant('settle' as const), at: fc.nat({ max: 4 }) }),
)

test('the outbox holds what was added and not released, within its limits, in order', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const outbox = new Outbox<Item>(MAX_MESSAGES, MAX_BYTES)
      const model: Model = { waiting: [], taken: [] }
      const held = (): Item[] => [...model.waiting, ...model.taken]
      const total = (): number => held().reduce((sum, { bytes }) => sum + bytes, 0)
      steps.forEach((each, id) => {
        if (each.is === 'add') {
          const fits = held().length < MAX_MESSAGES && total() + each.bytes <= MAX_BYTES
          const item = {
            id,
            bytes: each.bytes,
            isSettled: false,
            refusal: undefined,
            held: undefined,
            queued: undefined,
          }
          expect(outbox.refusal(each.bytes) === undefined).toBe(fits)
          if (!fits) return
          outbox.add(item)
          model.waiting.push(item)
        } else if (each.is === 'take') {
          const item = model.waiting.shift()
          expect(outbox.take()).toBe(item)
          if (item !== undefined) model.taken.push(item)
        } else if (each.is === 'putBack') {
          outbox.putBack(model.taken)
          model.waiting.unshift(...model.taken.splice(0).filter(({ isSettled }) => !isSettled))
        } else if (each.is === 'append') {
          const item = model.taken.shift()
          if (item === undefined) return
          outbox.append(item)
          if (!item.isSettled) model.waiting.push(item)
        } else if (each.is === 'release') {
          const item = model.taken.shift()
          if (item !== undefined) outbox.release(item)
        } else {
          const item = model.taken[each.at]
          if (item !== undefined) item.isSettled = true
        }
        expect(outbox).toMatchObject({ messages: held().length, bytes: total() })
      })
    }),
  )
})
