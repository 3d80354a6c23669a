import amqplib, { type ChannelModel } from 'amqplib'
import { ADMIN_ADDRESS, node } from '../cluster/address.js'

/** A plain connection to one broker from the address that faults leave alone; without heartbeats. */
export async function connectAmqp(n: number): Promise<ChannelModel> {
  const { host, port } = node('rabbit', n)
  const place = { protocol: 'amqp', hostname: host, port, username: 'guest', password: 'guest', heartbeat: 0 }
  // Handed to net.connect as they are; the types of amqplib do not name all of them.
  const socketOptions = { localAddress: ADMIN_ADDRESS, timeout: 5000, noDelay: true }
  const connection = await amqplib.connect(place, socketOptions)
  // A connection that is lost also rejects its calls; unheard, the event would end the process.
  connection.on('error', () => undefined)
  return connection
}

/** Runs some steps over a connection of their own, and ends it. */
export async function withAmqp<T>(n: number, steps: (connection: ChannelModel) => Promise<T>): Promise<T> {
  const connection = await connectAmqp(n)
  try {
    return await steps(connection)
  } finally {
    connection.close().catch(() => undefined)
  }
}
