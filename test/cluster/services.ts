import type { Kind } from './address.js'
import { galera } from './galera.js'
import { memcached } from './memcached.js'
import { rabbit } from './rabbit.js'
import type { Service } from './service.js'

/** The implementation of each kind. */
export const SERVICES: Readonly<Record<Kind, Service>> = { galera, rabbit, memcached }
