import type { Operation, OperationKind, Payload, Reply, Transport, TransportFailure } from './transport.js'

/** The connection ended before it answered a request of our own. @internal */
export class TransportDown extends Error {
  readonly failure: TransportFailure

  constructor(failure: TransportFailure) {
    super(failure.error.message)
    this.failure = failure
  }
}

/** The item whose CAS id tells the age of others; it is the same for all clients, its value means nothing. */
const MARK_KEY = 'openstack-ha/mark'
const MARK: Payload = { data: '1', size: 1, flags: 0, expiry: 60 }

/** What a request of our own is about. @internal */
export interface Subject {
  readonly key?: string
  /** Of the key, for a request that must stay in order with others of the same key. */
  readonly hash?: number
  readonly payload?: Payload
}

/** A request that no user made. @internal */
export class ControlOperation implements Operation {
  readonly kind: OperationKind
  readonly key: string
  readonly hash: number
  readonly wantsCas: boolean
  readonly payload: Payload | undefined
  sentAt = 0
  readonly #onAnswer: (cas: number, error: Error | undefined) => void
  readonly #onFailure: (failure: TransportFailure) => void

  constructor(
    what: { readonly kind: OperationKind } & Subject,
    onAnswer: (cas: number, error: Error | undefined) => void,
    onFailure: (failure: TransportFailure) => void,
  ) {
    this.kind = what.kind
    this.key = what.key ?? ''
    this.hash = what.hash ?? 0
    this.payload = what.payload
    this.wantsCas = what.payload !== undefined
    this.#onAnswer = onAnswer
    this.#onFailure = onFailure
  }

  done(reply: Reply): void {
    this.#onAnswer(reply.cas, reply.error)
  }

  fail(failure: TransportFailure): void {
    this.#onFailure(failure)
  }
}

/**
 * Stores the mark, whose CAS id tells `onAnswer` how old everything else on the node is: memcached numbers all stores
 * of one process in order. 0 from a server that runs without CAS. @internal
 */
export function markOperation(
  onAnswer: (cas: number, error: Error | undefined) => void,
  onFailure: (failure: TransportFailure) => void = () => undefined,
): Operation {
  return new ControlOperation({ kind: 'set', key: MARK_KEY, payload: MARK }, onAnswer, onFailure)
}

/** The CAS id of a new mark. Rejects with `TransportDown`, or with the server's refusal. @internal */
export function takeMark(transport: Transport): Promise<number> {
  return new Promise((resolve, reject) => {
    const onAnswer = (cas: number, error: Error | undefined): void =>
      error === undefined ? resolve(cas) : reject(error)
    transport.submit(markOperation(onAnswer, (failure) => reject(new TransportDown(failure))))
  })
}

/** Asks and waits. Rejects with `TransportDown`, or with the server's refusal. @internal */
export function ask(transport: Transport, kind: OperationKind, subject: Subject = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAnswer = (_cas: number, error: Error | undefined): void => (error === undefined ? resolve() : reject(error))
    const onFailure = (failure: TransportFailure): void => reject(new TransportDown(failure))
    transport.submit(new ControlOperation({ kind, ...subject }, onAnswer, onFailure))
  })
}
