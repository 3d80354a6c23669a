/** What happened since the transport was made. */
export interface TransportCounters {
  /** Messages taken by `publish`. */
  readonly published: number
  /** Messages that the broker confirmed. */
  readonly confirmed: number
  /** Messages sent once more, after a lost channel or a refusal. */
  readonly resent: number
  /** Mandatory messages that reached no queue. */
  readonly returned: number
  /** Refusals (`basic.nack`); a refused message is tried again. */
  readonly nacked: number
  /** Acknowledgements that came after their channel had ended: they did nothing, the message is delivered again. */
  readonly staleAcks: number
  /** Deliveries that repeated a message handled here: acknowledged without calling the handler. */
  readonly duplicates: number
  /** Entities that could not be declared again after a reconnect. */
  readonly topologyErrors: number
}

/** The counters while they count. @internal */
export type Counters = { -readonly [K in keyof TransportCounters]: number }

/** All zero. @internal */
export function newCounters(): Counters {
  return {
    published: 0,
    confirmed: 0,
    resent: 0,
    returned: 0,
    nacked: 0,
    staleAcks: 0,
    duplicates: 0,
    topologyErrors: 0,
  }
}
