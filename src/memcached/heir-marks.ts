import { now } from '../core/timing.js'
import { markOperation } from './control.js'
import type { Operation } from './transport.js'

/** A node that is out: its place in the ring, and which of its absences this is. @internal */
export interface AbsentNode {
  readonly index: number
  readonly absences: number
}

/** A mark that was refused is asked for again, at most so often. */
const RETRY_MS = 250

/**
 * Tells which values on one node, an heir, are younger than the absence of each node it stands in for.
 *
 * An heir may still hold a value from an earlier absence, older than what the key's own node was given since. So a
 * mark is stored on each heir when a node goes out, before any request that moves to it: what has a CAS id up to the
 * mark's is old. Until the mark is answered everything is.
 * @internal
 */
export class HeirMarks {
  /** By the absent node's number; a node without a mark has been out since before anything that is known. */
  readonly #marks = new Map<number, number>()
  #isAsking = false
  #askedAt = 0

  /** The mark of a node: what has a CAS id up to it is old. */
  of(index: number): number {
    return this.#marks.get(index) ?? Infinity
  }

  /** Sets a mark that is known. */
  set(index: number, mark: number): void {
    this.#marks.set(index, mark)
  }

  /** The request that sets the marks of the nodes `out`; it must be sent before any request that they would have got. */
  take(out: readonly AbsentNode[], onCas: (cas: number) => void): Operation {
    const absences = out.map((node) => node.absences)
    for (const node of out) this.#marks.delete(node.index)
    this.#isAsking = true
    this.#askedAt = now()
    const onAnswer = (cas: number, error: Error | undefined): void => {
      this.#isAsking = false
      if (error !== undefined) return
      onCas(cas)
      out.forEach((node, i) => {
        if (node.absences === absences[i]) this.#marks.set(node.index, cas)
      })
    }
    return markOperation(onAnswer, () => (this.#isAsking = false))
  }

  /** True when the value with this CAS id was stored after the mark of every node in `out`. */
  isYounger(cas: number, out: readonly AbsentNode[]): boolean {
    return out.every((node) => cas > this.of(node.index))
  }

  /** True when the mark of one of `out` is missing because the server refused it, and it is time to ask again. */
  mustRetry(out: readonly AbsentNode[]): boolean {
    if (this.#isAsking || !out.some((node) => this.of(node.index) === Infinity)) return false
    return now() - this.#askedAt >= RETRY_MS
  }
}
