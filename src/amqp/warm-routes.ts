import { backoffDelay } from '../core/backoff.js'

/** Routes that are kept in mind, the latest ones. */
const MAX_ROUTES = 64
/** Uses after which a route is worth its barrier: keys that are all different cost nothing. */
const MIN_USES = 2
/** At most one barrier in so long, and in so many times the length of the last one: it stops everything else. */
const PAUSE_MS = 100
const PAUSE_FACTOR = 50
/** Without a confirmation in time the next barrier waits for so long; doubled while that does not help. */
const FAILURE_PAUSE = Object.freeze({ initialMs: 10_000, factor: 2, maxMs: 600_000 })

interface Route {
  uses: number
  isWarm: boolean
}

/**
 * Decides which message goes over the connection that stands by, so that its channel knows the message's queue.
 *
 * The first message of a channel to a quorum queue asks the node of the queue's leader (RabbitMQ 3.10). While that is
 * frozen there is no answer, whereas a channel that sent there before follows to the next leader.
 * @internal
 */
export class WarmRoutes {
  /** By exchange and routing key, the least recent first. */
  readonly #routes = new Map<string, Route>()
  /** The one that was found warm last: most messages go where the one before went. */
  #latest: { readonly exchange: string; readonly routingKey: string } | undefined
  #nextAt = -Infinity
  #failures = 0

  /** Counts a use; true when this message should go over the connection that stands by. */
  wants(exchange: string, routingKey: string, at: number): boolean {
    if (this.#latest?.routingKey === routingKey && this.#latest.exchange === exchange) return false
    const key = `${exchange}\0${routingKey}`
    // First, and without a change of the map: so it is for nearly all messages.
    if (this.#routes.get(key)?.isWarm === true) {
      this.#latest = { exchange, routingKey }
      return false
    }
    const route = this.#touch(key)
    route.uses += 1
    if (route.uses < MIN_USES || at < this.#nextAt) return false
    this.#nextAt = at + PAUSE_MS
    return true
  }

  get hasWarm(): boolean {
    return [...this.#routes.values()].some(({ isWarm }) => isWarm)
  }

  /** The message was confirmed over there; everything else waited for `tookMs`. */
  warmed(exchange: string, routingKey: string, { at, tookMs }: { readonly at: number; readonly tookMs: number }): void {
    this.#nextAt = Math.max(this.#nextAt, at + PAUSE_FACTOR * tookMs)
    this.#failures = 0
    const route = this.#touch(`${exchange}\0${routingKey}`)
    route.isWarm = true
    route.uses = MIN_USES
  }

  /** It was not. */
  failed(at: number): void {
    this.#failures += 1
    this.#nextAt = at + backoffDelay(this.#failures, FAILURE_PAUSE, () => 1)
  }

  /** The channel over there is another one. */
  cool(): void {
    this.#latest = undefined
    for (const route of this.#routes.values()) route.isWarm = false
  }

  #touch(key: string): Route {
    const route = this.#routes.get(key) ?? { uses: 0, isWarm: false }
    // Reinsertion makes it the most recent one.
    this.#routes.delete(key)
    this.#routes.set(key, route)
    if (this.#routes.size > MAX_ROUTES) {
      for (const oldest of this.#routes.keys()) {
        this.#routes.delete(oldest)
        break
      }
    }
    return route
  }
}
