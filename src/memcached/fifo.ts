const INITIAL_CAPACITY = 64

/** A first-in-first-out queue on a circular array: no shifting, no allocation per element. @internal */
export class Fifo<T> {
  #slots: (T | undefined)[] = new Array<T | undefined>(INITIAL_CAPACITY)
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  push(element: T): void {
    if (this.#length === this.#slots.length) this.#grow()
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = element
    this.#length += 1
  }

  /** The oldest element, which stays. */
  peek(): T | undefined {
    return this.#slots[this.#head]
  }

  /** Takes the oldest element out. */
  shift(): T | undefined {
    if (this.#length === 0) return undefined
    const element = this.#slots[this.#head]
    this.#slots[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#slots.length - 1)
    this.#length -= 1
    return element
  }

  some(predicate: (element: T) => boolean): boolean {
    for (let i = 0; i < this.#length; i += 1) {
      if (predicate(this.#slots[(this.#head + i) & (this.#slots.length - 1)] as T)) return true
    }
    return false
  }

  /** Takes everything out, oldest first. */
  drain(): T[] {
    const elements: T[] = []
    for (let element = this.shift(); element !== undefined; element = this.shift()) elements.push(element)
    return elements
  }

  #grow(): void {
    const capacity = this.#slots.length
    const grown = new Array<T | undefined>(capacity * 2)
    for (let i = 0; i < this.#length; i += 1) grown[i] = this.#slots[(this.#head + i) & (capacity - 1)]
    this.#slots = grown
    this.#head = 0
  }
}
