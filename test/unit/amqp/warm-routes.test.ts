import { describe, expect, test } from 'vitest'
import { WarmRoutes } from '../../../src/amqp/warm-routes.js'

describe('the routes that the connection standing by learns', () => {
  test('are those used twice, one in 100 ms', () => {
    const routes = new WarmRoutes()
    expect(routes.wants('', 'a', 0)).toBe(false)
    expect(routes.wants('', 'b', 0)).toBe(false)
    expect(routes.wants('', 'a', 1)).toBe(true)
    expect(routes.wants('', 'b', 2)).toBe(false)
    expect(routes.wants('', 'b', 101)).toBe(true)
  })

  test('are not learned again while they are warm, and are on a fresh channel', () => {
    const routes = new WarmRoutes()
    routes.warmed('', 'a', { at: 0, tookMs: 0 })
    expect([routes.hasWarm, routes.wants('', 'a', 0), routes.wants('', 'a', 1)]).toEqual([true, false, false])
    routes.cool()
    expect([routes.hasWarm, routes.wants('', 'a', 2)]).toEqual([false, true])
  })

  test('are left alone for 10 s after one was not confirmed', () => {
    const routes = new WarmRoutes()
    routes.wants('', 'a', 0)
    routes.failed(0)
    expect([routes.wants('', 'a', 9999), routes.wants('', 'a', 10_000)]).toEqual([false, true])
  })

  test('are left alone for twice as long each time in a row', () => {
    const routes = new WarmRoutes()
    routes.wants('', 'a', 0)
    routes.failed(0)
    routes.failed(10_000)
    expect([routes.wants('', 'a', 29_999), routes.wants('', 'a', 30_000)]).toEqual([false, true])
    routes.warmed('', 'b', { at: 30_000, tookMs: 0 })
    routes.failed(40_000)
    expect([routes.wants('', 'a', 49_999), routes.wants('', 'a', 50_000)]).toEqual([false, true])
  })

  test('take no more than a fiftieth of the time, however slow the broker confirms', () => {
    const routes = new WarmRoutes()
    for (const key of ['a', 'b']) routes.wants('', key, 0)
    routes.warmed('', 'a', { at: 100, tookMs: 40 })
    expect([routes.wants('', 'b', 2099), routes.wants('', 'b', 2100)]).toEqual([false, true])
  })

  test('never are keys that are all different', () => {
    const routes = new WarmRoutes()
    const wanted = Array.from({ length: 1000 }, (_, i) => routes.wants('events', String(i % 500), i * 1000))
    expect(wanted).not.toContain(true)
  })
})
