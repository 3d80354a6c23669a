import { vi } from 'vitest'

/** Fakes every clock that src/core uses; `setImmediate` too, because time limits are judged after one poll phase. */
export function useFakeTime(): void {
  vi.useFakeTimers({
    toFake: [
      'setTimeout',
      'clearTimeout',
      'setInterval',
      'clearInterval',
      'setImmediate',
      'clearImmediate',
      'Date',
      'performance',
    ],
  })
}
