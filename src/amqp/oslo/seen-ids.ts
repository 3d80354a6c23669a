import { now } from '../../core/timing.js'

const MAX_IDS = 10_000
const MAX_AGE_MS = 600_000

/** The ids of messages that were handled lately, or are being handled; bounded by number and age. @internal */
export class SeenIds {
  readonly #ids = new Map<string, { readonly at: number; readonly work: Promise<void> }>()

  get size(): number {
    return this.#ids.size
  }

  /**
   * Runs `work` unless the id was seen; resolves when it, or the one that ran before under the id, has ended. Returns
   * false for a copy. A failure is forgotten, so that the next copy is not one.
   */
  async once(id: string, work: () => Promise<void>): Promise<boolean> {
    const seen = this.#ids.get(id)
    if (seen !== undefined && now() - seen.at < MAX_AGE_MS) {
      await seen.work
      return false
    }
    const running = work()
    this.#ids.set(id, { at: now(), work: running })
    this.#trim()
    try {
      await running
    } catch (error) {
      this.#ids.delete(id)
      throw error
    }
    return true
  }

  #trim(): void {
    for (const [id, { at }] of this.#ids) {
      if (this.#ids.size <= MAX_IDS && now() - at < MAX_AGE_MS) return
      this.#ids.delete(id)
    }
  }
}
