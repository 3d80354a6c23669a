import { describe, expect, test } from 'vitest'
import { toLetter, type PublishOptions } from '../../../src/amqp/letter.js'

describe('a message', () => {
  test.each<[PublishOptions, string]>([
    [{ expirationMs: -1 }, 'expirationMs'],
    [{ expirationMs: NaN }, 'expirationMs'],
    [{ expirationMs: Infinity }, 'expirationMs'],
    [{ expirationMs: '5000' as unknown as number }, 'expirationMs'],
    [{ priority: 256 }, 'priority'],
    [{ priority: 1.5 }, 'priority'],
    [{ timestamp: -1 }, 'timestamp'],
    [{ correlationId: 7 as unknown as string }, 'correlationId'],
    [{ replyTo: 'ä'.repeat(128) }, 'replyTo'],
    [{ contentType: 'x'.repeat(256) }, 'contentType'],
    [{ headers: { CC: 'key' } }, 'headers.CC'],
  ])('that the broker would refuse together with all that is in flight is refused before: %o', (options, option) => {
    expect(() => toLetter('e', 'k', 'x', options)).toThrow(
      expect.objectContaining({ code: 'HA_INVALID_OPTION', option }) as Error,
    )
  })

  test('has its expiration in whole milliseconds, not before its time', () => {
    expect(toLetter('e', 'k', 'x', { expirationMs: 4999.73 }).properties['expiration']).toBe(5000)
  })
})
