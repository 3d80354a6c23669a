/** Where a value is in a {@link LinkedList}: what takes it out again. @internal */
export interface Place<T> {
  readonly value: T
}

class Link<T> implements Place<T> {
  readonly value: T
  list: LinkedList<T> | undefined
  previous: Link<T> | undefined
  next: Link<T> | undefined

  constructor(value: T, list: LinkedList<T>) {
    this.value = value
    this.list = list
  }
}

/**
 * A queue from whose middle a value can be taken at once.
 *
 * For what comes and goes with every message: a Map or a Set that gains and loses a key each time drags its outgrown
 * tables along until a full collection, which made it four times as slow.
 * @internal
 */
export class LinkedList<T> {
  #first: Link<T> | undefined
  #last: Link<T> | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The value that has been here longest, or was put in front. */
  get first(): T | undefined {
    return this.#first?.value
  }

  /** Adds behind all others. */
  push(value: T): Place<T> {
    const link = new Link(value, this)
    link.previous = this.#last
    if (this.#last === undefined) this.#first = link
    else this.#last.next = link
    this.#last = link
    this.#size += 1
    return link
  }

  /** Adds in front of all others. */
  unshift(value: T): Place<T> {
    const link = new Link(value, this)
    link.next = this.#first
    if (this.#first === undefined) this.#last = link
    else this.#first.previous = link
    this.#first = link
    this.#size += 1
    return link
  }

  /** Takes a value out; false when it was out already. */
  remove(place: Place<unknown>): boolean {
    const link = place as Link<T>
    if (link.list !== this) return false
    const { previous, next } = link
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    // A link that somebody still holds must not hold others in turn.
    link.list = undefined
    link.previous = undefined
    link.next = undefined
    this.#size -= 1
    return true
  }

  /** Takes the first value out. */
  shift(): T | undefined {
    const link = this.#first
    if (link !== undefined) this.remove(link)
    return link?.value
  }

  /** All values, first to last. */
  values(): T[] {
    const values: T[] = []
    for (let link = this.#first; link !== undefined; link = link.next) values.push(link.value)
    return values
  }
}
