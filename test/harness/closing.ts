import { within } from './timing.js'

const LIMIT_MS = 5000

/** Ends things one after the other: none of them waited for for ever, none in the way of the next. */
export async function closeAll(steps: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const step of steps) {
    try {
      await within(LIMIT_MS, 'closing', step())
    } catch {
      // What a client under test does when it is closed is not measured.
    }
  }
}
