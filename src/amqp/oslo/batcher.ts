interface Waiting<T> {
  readonly item: T
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Collects items into batches, by number and time; each item shares the fate of its batch. @internal */
export class Batcher<T> {
  readonly #size: number
  readonly #timeoutMs: number
  readonly #handle: (items: readonly T[]) => Promise<void>
  #waiting: Waiting<T>[] = []
  #timer: NodeJS.Timeout | undefined
  #isClosing = false

  constructor(size: number, timeoutMs: number, handle: (items: readonly T[]) => Promise<void>) {
    this.#size = size
    this.#timeoutMs = timeoutMs
    this.#handle = handle
  }

  /** Resolves or rejects with the item's batch. */
  async add(item: T): Promise<void> {
    const done = new Promise<void>((resolve, reject) => this.#waiting.push({ item, resolve, reject }))
    if (this.#waiting.length >= this.#size || this.#isClosing) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), this.#timeoutMs)
    await done
  }

  /** Handles what was collected, and everything that still comes, at once. */
  close(): void {
    this.#isClosing = true
    this.#flush()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#waiting
    this.#waiting = []
    if (batch.length === 0) return
    this.#handle(batch.map(({ item }) => item)).then(
      () => {
        for (const { resolve } of batch) resolve()
      },
      (error: unknown) => {
        for (const { reject } of batch) reject(error)
      },
    )
  }
}
