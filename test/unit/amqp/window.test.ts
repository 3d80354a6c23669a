import { describe, expect, test } from 'vitest'
import { AdaptiveWindow } from '../../../src/amqp/window.js'

describe('the adaptive window', () => {
  test('doubles each round trip while it is full and confirmations are fast, up to some thousands', () => {
    const window = new AdaptiveWindow()
    const sizes = Array.from({ length: 6 }, () => {
      window.onRoundTrip(5, true)
      return window.size
    })
    expect(sizes).toEqual([512, 1024, 2048, 4096, 4096, 4096])
  })

  test('does not grow for those who do not fill it, nor while confirmations take long', () => {
    const window = new AdaptiveWindow()
    window.onRoundTrip(1, false)
    window.onRoundTrip(200, true)
    expect(window.size).toBe(256)
  })

  test('is halved by slow confirmations, and grows by steps where it was found too large', () => {
    const window = new AdaptiveWindow()
    for (let i = 0; i < 4; i += 1) window.onRoundTrip(5, true)
    window.onRoundTrip(600, true)
    expect(window.size).toBe(2048)
    window.onRoundTrip(5, true)
    expect(window.size).toBe(2112)
    for (let i = 0; i < 10; i += 1) window.onRoundTrip(600, true)
    expect(window.size).toBe(256)
  })

  test('starts small again after a loss, and is large after few round trips', () => {
    const window = new AdaptiveWindow()
    window.onRoundTrip(600, true)
    window.restart(16)
    expect(window.size).toBe(16)
    for (let i = 0; i < 8; i += 1) window.onRoundTrip(5, true)
    expect(window.size).toBe(4096)
  })

  test('stays small when confirmations are slow while it is small', () => {
    const window = new AdaptiveWindow()
    window.restart(16)
    window.onRoundTrip(700, true)
    expect(window.size).toBe(16)
  })
})
