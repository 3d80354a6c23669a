import { connectAmqp } from '../../test/harness/amqp-admin.js'
import type { Oracle } from '../../test/harness/index.js'
import type { Place } from './parties.js'

const PAUSE_MS = 5
/** A cluster with the servers' own net_ticktime may take a minute for what an oracle asks. */
const LIMIT_MS = 90_000

/** Casts to the same topic from a node that survives: its gap is the servers' own pause in taking requests. */
export async function castOracle(n: number, { topic, exchange }: Place): Promise<Oracle> {
  const connection = await connectAmqp(n)
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => undefined)
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8', persistent: true, mandatory: true }
  return {
    name: `cast on node ${n}`,
    workers: 1,
    pauseMs: PAUSE_MS,
    allowanceMs: LIMIT_MS,
    operate: ({ id }) =>
      new Promise((resolve, reject) => {
        channel.publish(exchange, topic, request(id), properties, (error: unknown) => {
          if (error === null) resolve()
          else reject(error instanceof Error ? error : new Error('refused'))
        })
      }),
    close: () => void connection.close().catch(() => undefined),
  }
}

function request(id: string): Buffer {
  const message = { method: 'ignore', args: { value: id }, _unique_id: `oracle-${id}` }
  return Buffer.from(JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) }))
}
