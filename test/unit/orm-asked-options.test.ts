import { expect, test } from 'vitest'
import { createPool } from '../../src/mysql/index.js'
import { askedOptions } from '../../src/orm/asked-options.js'

test('what an ORM asks mysql2’s pool for becomes options that ours takes', () => {
  const asked = {
    ...{ host: 'localhost', port: 3306, socketPath: undefined, user: 'nova', charset: 'utf8mb4', connectionLimit: 7 },
    ...{ connectTimeout: 4000, acquireTimeout: 1, waitForConnections: true, queueLimit: 0, maxIdle: 2 },
    ...{ idleTimeout: 1, enableKeepAlive: true, keepAliveInitialDelay: 1 },
  }
  const options = askedOptions(asked)
  expect(options).toEqual({ user: 'nova', charset: 'utf8mb4', connectionLimit: 7, connectTimeoutMs: 4000 })
  createPool({ env: {}, hosts: ['127.0.0.1:9'], ...options }).destroy()
})

test('a limit of the queue is kept', () => {
  expect(askedOptions({ queueLimit: 5 })).toEqual({ queueLimit: 5 })
})
