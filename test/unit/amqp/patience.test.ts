import { describe, expect, test } from 'vitest'
import { Patience } from '../../../src/amqp/patience.js'

describe('the patience with a channel that does not answer', () => {
  test('is 10 s, doubles up to 60 s while giving up is in vain, and is as before after an answer', () => {
    const patience = new Patience()
    const steps = Array.from({ length: 5 }, () => {
      const ms = patience.ms(0, false)
      patience.onGivenUp(0)
      return ms
    })
    expect(steps).toEqual([10_000, 20_000, 40_000, 60_000, 60_000])
    patience.onAnswered(0)
    expect(patience.ms(0, false)).toBe(10_000)
  })

  test('is 5 s after a failover, until every election is over', () => {
    const patience = new Patience()
    patience.onFailover(1000)
    patience.onGivenUp(6000)
    expect([patience.ms(1000, false), patience.ms(90_999, false), patience.ms(91_001, false)]).toEqual([
      5000, 5000, 10_000,
    ])
  })

  test('is short for some seconds after a refusal that follows a failover', () => {
    const patience = new Patience()
    patience.onFailover(0)
    patience.onRefused(8000)
    expect([patience.ms(8000, false), patience.ms(12_999, false), patience.ms(13_000, false)]).toEqual([250, 250, 5000])
  })

  test('is short until an answer comes, and stays so with the channel that refused', () => {
    const patience = new Patience()
    patience.onFailover(0)
    patience.onRefused(8000)
    patience.onAnswered(8100)
    expect([patience.ms(8200, false), patience.ms(8200, true), patience.ms(91_000, true)]).toEqual([5000, 250, 10_000])
  })

  test('is not kept short by a queue that goes on refusing, nor made short by one without a failover', () => {
    const patience = new Patience()
    patience.onRefused(0)
    expect(patience.ms(1, false)).toBe(10_000)
    patience.onFailover(0)
    const isShort = Array.from({ length: 90 }, (_, i) => {
      patience.onRefused(i * 1000)
      return patience.ms(i * 1000, false) === 250
    })
    expect(isShort.filter(Boolean).length).toBeLessThan(50)
  })
})
