import type { ChannelModel, ConfirmChannel } from 'amqplib'
import { nodes } from '../cluster/address.js'
import { connectAmqp } from './amqp-admin.js'
import type { Oracle } from './scene.js'
import { within } from './timing.js'

const PAUSE_MS = 2
/** A cluster with the servers' own net_ticktime may take a minute for what an oracle asks. */
const LIMIT_MS = 90_000
/** Begins the messages of the oracle, which uses the same queue: each queue has a leader, and an election, of its own. */
export const ORACLE_MARK = 'oracle '

/** The queue of a scene, as its oracles use it. */
export interface OracleQueue {
  readonly name: string
  readonly options: { readonly durable: true; readonly arguments: Readonly<Record<string, string>> }
}

/**
 * Clients of a surviving node: the gap of the first is the servers' own pause in confirming, of the second in delivering.
 *
 * `onHandled` is told of each message of the client under test that the oracle was given.
 */
export async function survivingOracles(
  n: number,
  queue: OracleQueue,
  onHandled: (id: string) => void,
): Promise<readonly Oracle[]> {
  const connection = await connectAmqp(n)
  const close = (): void => void connection.close().catch(() => undefined)
  return [
    { ...(await publisher(connection, queue)), name: `publish on node ${n}`, close },
    { ...(await consumer(connection, queue, onHandled)), name: `consume on node ${n}`, close: () => undefined },
    { ...(await declarer(connection, queue)), name: `declare on node ${n}`, close: () => undefined },
  ]
}

type Unnamed = Omit<Oracle, 'name' | 'close'>

async function publisher(connection: ChannelModel, { name }: OracleQueue): Promise<Unnamed> {
  const channel = await confirmChannel(connection)
  return {
    workers: 1,
    pauseMs: PAUSE_MS,
    allowanceMs: LIMIT_MS,
    operate: ({ id }) => send(channel, name, id),
  }
}

/** Its operation is to be given the next message. */
async function consumer(
  connection: ChannelModel,
  { name }: OracleQueue,
  onHandled: (id: string) => void,
): Promise<Unnamed> {
  const channel = await connection.createChannel()
  channel.on('error', () => undefined)
  // One at a time: it has to be given messages, but not to take them away from the client.
  await channel.prefetch(1)
  let onNext: (() => void) | undefined
  await channel.consume(name, (message) => {
    if (message === null) return
    onHandled(message.content.toString())
    channel.ack(message)
    onNext?.()
  })
  return {
    workers: 1,
    allowanceMs: LIMIT_MS,
    operate: () => new Promise((resolve) => (onNext = resolve)),
  }
}

async function declarer(connection: ChannelModel, { name, options }: OracleQueue): Promise<Unnamed> {
  const channel = await connection.createChannel()
  channel.on('error', () => undefined)
  return {
    workers: 1,
    pauseMs: 20,
    allowanceMs: LIMIT_MS,
    operate: async () => {
      await channel.assertQueue(name, options)
    },
  }
}

const ATTEMPT_LIMIT_MS = 1000
const ATTEMPT_PAUSE_MS = 50

/**
 * A client that keeps trying on every node at once, for when none survives: its gap ends with the first confirmation
 * that any node gives.
 */
export function persistentOracle(queue: OracleQueue): Oracle {
  const clients = nodes('rabbit').map(({ n }) => new PersistentPublisher(n, queue.name))
  return {
    name: 'publish on any node',
    workers: clients.length,
    pauseMs: ATTEMPT_PAUSE_MS,
    allowanceMs: LIMIT_MS,
    operate: async ({ worker, id }) => clients[worker]?.publish(id),
    close: () => {
      for (const each of clients) each.close()
    },
  }
}

class PersistentPublisher {
  readonly #n: number
  readonly #queue: string
  #connection: ChannelModel | undefined
  #channel: ConfirmChannel | undefined

  constructor(n: number, queue: string) {
    this.#n = n
    this.#queue = queue
  }

  async publish(id: string): Promise<void> {
    try {
      await within(ATTEMPT_LIMIT_MS, 'confirmation', this.#attempt(id))
    } catch (error) {
      this.close()
      throw error
    }
  }

  close(): void {
    this.#connection?.close().catch(() => undefined)
    this.#connection = undefined
    this.#channel = undefined
  }

  async #attempt(id: string): Promise<void> {
    this.#connection ??= await connectAmqp(this.#n)
    this.#channel ??= await confirmChannel(this.#connection)
    await send(this.#channel, this.#queue, id)
  }
}

async function confirmChannel(connection: ChannelModel): Promise<ConfirmChannel> {
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => undefined)
  return channel
}

function send(channel: ConfirmChannel, queue: string, id: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const content = Buffer.from(`${ORACLE_MARK}${id}`)
    channel.sendToQueue(queue, content, { persistent: true }, (error: Error | null) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
}
