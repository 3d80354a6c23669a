/**
 * The client side of OpenStack high availability: Galera, RabbitMQ and memcached clients that keep working when any one
 * node crashes, freezes, is cut off or comes back. Each client is also an entry of its own.
 *
 * @module
 */
export * as mysql from './mysql/index.js'
export * as amqp from './amqp/index.js'
export * as memcached from './memcached/index.js'
export * from './core/public.js'
