import type { Channel } from './channel.js'
import { isDeprecated } from './classify.js'
import type { Exchange, Queue, TopologyBinding } from './declaration.js'
import type { DriverQueueOptions } from './driver.js'
import { QueueKindError } from './errors.js'

/** Declares an exchange. Rejects with the broker's error. @internal */
export async function declareExchange(channel: Channel, exchange: Exchange): Promise<void> {
  const { name, type, durable = true, autoDelete = false, internal = false, alternateExchange } = exchange
  const args = {
    ...exchange.arguments,
    ...(alternateExchange === undefined ? {} : { 'alternate-exchange': alternateExchange }),
  }
  await ask(channel, () => channel.raw.assertExchange(name, type, { durable, autoDelete, internal, arguments: args }))
}

/** Declares a queue. Rejects with the broker's error, or with `QueueKindError`. @internal */
export async function declareQueue(channel: Channel, queue: string, options: DriverQueueOptions): Promise<void> {
  try {
    await ask(channel, () => channel.raw.assertQueue(queue, options))
  } catch (error) {
    // The broker names no queue when it closes the connection, and others may be waiting on it.
    const isCulprit = !options.durable && options.exclusive !== true && isDeprecated(error)
    throw isCulprit ? new QueueKindError(queue, error) : error
  }
}

/** Binds a queue or an exchange. Rejects with the broker's error. @internal */
export async function bind(channel: Channel, binding: TopologyBinding): Promise<void> {
  const { exchange, routingKey = '' } = binding
  const args = { ...binding.arguments }
  await ask(channel, () =>
    'queue' in binding
      ? channel.raw.bindQueue(binding.queue, exchange, routingKey, args)
      : channel.raw.bindExchange(binding.toExchange, exchange, routingKey, args),
  )
}

/** How a queue of `declare()` is declared, by amqplib's names. @internal */
export function queueOptions({
  type = 'quorum',
  durable = true,
  autoDelete = false,
  ...queue
}: Queue): DriverQueueOptions {
  return { durable, autoDelete, arguments: { ...queue.arguments, 'x-queue-type': type } }
}

/** amqplib's own error says only that the channel is closed; the broker's reason comes with its end. @internal */
export async function ask(channel: Channel, request: () => Promise<unknown>): Promise<void> {
  try {
    await request()
  } catch (error) {
    throw channel.ending.value?.error ?? error
  }
}
