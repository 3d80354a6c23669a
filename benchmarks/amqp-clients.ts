import { type MessageSubject, OurAmqp } from '../test/harness/index.js'
import { AmqpConnectionManager } from './peers/amqp-connection-manager.js'
import { AmqplibRecovery } from './peers/amqplib.js'
import { RabbitmqClient } from './peers/rabbitmq-client.js'
import { Rascal } from './peers/rascal.js'

/** Every client of the broker that is measured, by the name that the command line has for it. */
export const MESSAGE_CLIENTS: Readonly<Record<string, () => MessageSubject>> = {
  ours: () => new OurAmqp(),
  'amqp-connection-manager': () => new AmqpConnectionManager(),
  'rabbitmq-client': () => new RabbitmqClient(),
  rascal: () => new Rascal(),
  'amqplib-recovery': () => new AmqplibRecovery(),
}

/** For the processes that consume. */
export function messageSubject(name: string): MessageSubject {
  const make = MESSAGE_CLIENTS[name]
  if (make === undefined) throw new Error(`unknown client ${name}`)
  return make()
}
