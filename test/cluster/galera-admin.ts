import { join } from 'node:path'
import mysql from 'mysql2'
import { nodeDir } from './state.js'
import { within } from './wait.js'

/** The part of `SHOW STATUS` that tells what a node is in its cluster. */
export interface WsrepStatus {
  readonly clusterStatus: string
  readonly stateComment: string
  readonly isReady: boolean
  readonly clusterSize: number
  readonly confId: string
  readonly lastCommitted: string
  readonly uptimeSeconds: number
}

/**
 * Runs one statement as root over the node's unix socket: no fault on the network touches it.
 *
 * Rejects after `timeoutMs`; a frozen server accepts the connection and then says nothing.
 */
export async function adminQuery(n: number, sql: string, timeoutMs = 1500): Promise<readonly unknown[]> {
  const connection = mysql.createConnection({ user: 'root', socketPath: join(nodeDir('galera', n), 'mysqld.sock') })
  // Whatever goes wrong also rejects the query; unheard, the event would end the process.
  connection.on('error', () => undefined)
  const answer = new Promise<readonly unknown[]>((resolve, reject) => {
    connection.query(sql, (error, rows) => {
      if (error) reject(error)
      else resolve(Array.isArray(rows) ? rows : [])
    })
  })
  try {
    const rows = await within(timeoutMs, `galera ${n}`, answer)
    // Properly, or each poll leaves a warning in the server's log.
    connection.end(() => connection.destroy())
    return rows
  } catch (error) {
    answer.catch(() => undefined)
    connection.destroy()
    throw error
  }
}

/** Asks a node what it is; undefined when it does not answer. */
export async function wsrepStatus(n: number): Promise<WsrepStatus | undefined> {
  let rows: readonly unknown[]
  try {
    rows = await adminQuery(n, `SHOW GLOBAL STATUS WHERE Variable_name LIKE 'wsrep\\_%' OR Variable_name = 'Uptime'`)
  } catch {
    return undefined
  }
  const values = new Map(
    (rows as { Variable_name: string; Value: string }[]).map((row) => [row.Variable_name, row.Value]),
  )
  const value = (name: string): string => values.get(name) ?? ''
  return {
    clusterStatus: value('wsrep_cluster_status'),
    stateComment: value('wsrep_local_state_comment'),
    isReady: value('wsrep_ready') === 'ON',
    clusterSize: Number(value('wsrep_cluster_size')),
    confId: value('wsrep_cluster_conf_id'),
    lastCommitted: value('wsrep_last_committed'),
    uptimeSeconds: Number(value('Uptime')),
  }
}
