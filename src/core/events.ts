import { EventEmitter } from 'node:events'
import { callListener, diagnose } from './diagnostics.js'
import type { Service } from './variables.js'

/** A host became usable, or stopped being usable. */
export interface HostEvent {
  /** `host:port`. */
  readonly host: string
  /** Why, for a host that went down. */
  readonly cause: Error | undefined
}

/** Another host, or another server behind the same host, took over. All durations are milliseconds. */
export interface FailoverEvent {
  /** The host that was used before. */
  readonly from: string
  /**
   * The host used now, the same as before when another server answers behind it; `undefined` for memcached, where several
   * heirs share the keys.
   */
  readonly to: string | undefined
  readonly cause: Error | undefined
  /** From the first sign of trouble until the old host was given up. */
  readonly detectedMs: number
  /** From the first sign of trouble until the new host served. */
  readonly elapsedMs: number
}

/** No host can serve since now. */
export interface OutageStartEvent {
  readonly cause: Error | undefined
}

/** The service is back. */
export interface OutageEndEvent {
  readonly elapsedMs: number
}

/** The events that all three clients have. */
export interface CommonEvents {
  hostUp: [HostEvent]
  hostDown: [HostEvent]
  failover: [FailoverEvent]
  outageStart: [OutageStartEvent]
  outageEnd: [OutageEndEvent]
}

/**
 * The emitter that the clients extend; `once()` of `node:events` works with it, in TypeScript after a cast.
 *
 * Listeners run after the client's state is consistent, and a listener that throws or rejects harms neither the client
 * nor the process: its error goes to the diagnostics channel `openstack-ha:<service>:listenerError`. There is no
 * `'error'` event.
 */
export class EventSource<Events extends EventMap<Events>> {
  readonly #emitter = new EventEmitter()
  readonly #service: Service

  /** @internal */
  constructor(service: Service) {
    this.#service = service
    // Any number of listeners is the caller's business, and the warning would go to the console.
    this.#emitter.setMaxListeners(0)
  }

  /** Calls `listener` at each event `name`. */
  on<K extends keyof Events & string>(name: K, listener: (...payload: Events[K]) => void): this {
    this.#emitter.on(name, listener as Listener)
    return this
  }

  /** Calls `listener` at the next event `name` only. */
  once<K extends keyof Events & string>(name: K, listener: (...payload: Events[K]) => void): this {
    this.#emitter.once(name, listener as Listener)
    return this
  }

  /** Removes a listener. */
  off<K extends keyof Events & string>(name: K, listener: (...payload: Events[K]) => void): this {
    this.#emitter.off(name, listener as Listener)
    return this
  }

  /** The same as {@link EventSource.off}; what `events.once()` calls. */
  removeListener<K extends keyof Events & string>(name: K, listener: (...payload: Events[K]) => void): this {
    return this.off(name, listener)
  }

  /** Reports a fact to listeners and diagnostics. @internal */
  protected report<K extends keyof Events & string>(name: K, payload: Events[K][0]): void {
    Object.freeze(payload)
    diagnose(this.#service, name, payload)
    for (const listener of this.#emitter.rawListeners(name) as Listener[]) {
      callListener(this.#service, () => listener.call(this.#emitter, payload))
    }
  }
}

type Listener = (payload: object) => unknown

/** Every event has one payload object. */
export type EventMap<Events> = { readonly [K in keyof Events]: [object] }
