/** Options of mysql2's own pool, in whose place ours is, and of where it dials. */
const OF_ITS_POOL = new Set([
  'host',
  'port',
  'socketPath',
  'acquireTimeout',
  'waitForConnections',
  'maxIdle',
  'idleTimeout',
  'enableKeepAlive',
  'keepAliveInitialDelay',
])

/** What an ORM was told to ask mysql2 for, as options of our pool. @internal */
export function askedOptions(asked: object): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(asked)) {
    // 0 means without a limit there.
    const isNothing = value === undefined || (name === 'queueLimit' && value === 0)
    if (!isNothing && !OF_ITS_POOL.has(name)) options[name === 'connectTimeout' ? 'connectTimeoutMs' : name] = value
  }
  return options
}
