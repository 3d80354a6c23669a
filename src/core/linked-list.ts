/** Where a value is in a {@place LinkedList}: what takes it out again. @internal */
export class Place<T> {
  readonly value: T
  list: LinkedList<T> | undefined
  previous: Place<T> | undefined
  next: Place<T> | undefined

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
  #first: Place<T> | undefined
  #last: Place<T> | undefined
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
    const place = new Place(value, this)
    place.previous = this.#last
    if (this.#last === undefined) this.#first = place
    else this.#last.next = place
    this.#last = place
    this.#size += 1
    return place
  }

  /** Adds in front of all others. */
  unshift(value: T): Place<T> {
    const place = new Place(value, this)
    place.next = this.#first
    if (this.#first === undefined) this.#last = place
    else this.#first.previous = place
    this.#first = place
    this.#size += 1
    return place
  }

  /** Takes a value out; false when it was out already. */
  remove(place: Place<T>): boolean {
    if (place.list !== this) return false
    const { previous, next } = place
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    // A place that somebody still holds must not hold others in turn.
    place.list = undefined
    place.previous = undefined
    place.next = undefined
    this.#size -= 1
    return true
  }

  /** Takes the first value out. */
  shift(): T | undefined {
    const place = this.#first
    if (place !== undefined) this.remove(place)
    return place?.value
  }

  /** All values, first to last. */
  values(): T[] {
    const values: T[] = []
    for (let place = this.#first; place !== undefined; place = place.next) values.push(place.value)
    return values
  }
}
