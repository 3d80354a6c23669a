import { describe, expect, test } from 'vitest'
import { parseReport, unfitForReads, unfitForWrites } from '../../../src/mysql/galera.js'
import { identityFrom, readValues } from '../../../src/mysql/identity.js'
import { galeraReport } from '../../helpers/galera-report.js'

const rows = (values: Record<string, string>): Record<string, unknown>[] =>
  Object.entries(values).map(([Variable_name, Value]) => ({ Variable_name, Value }))

const HEALTHY_STATUS = {
  wsrep_ready: 'ON',
  wsrep_cluster_status: 'Primary',
  wsrep_local_state: '4',
  wsrep_cluster_state_uuid: 'u',
  wsrep_cluster_conf_id: '7',
  wsrep_cluster_size: '3',
  wsrep_replicated: '12',
  Uptime: '42',
}
const HEALTHY_VARIABLES = { read_only: 'OFF', wsrep_on: 'ON', wsrep_desync: 'OFF', wsrep_reject_queries: 'NONE' }

describe('parseReport', () => {
  test('a healthy member is fit', () => {
    const report = parseReport([rows(HEALTHY_STATUS), rows(HEALTHY_VARIABLES)])
    expect(report).toMatchObject({ isGalera: true, viewId: 7n, replicated: 12n, uptimeMs: 42_000, isReadOnly: false })
    expect(unfitForWrites(report)).toBeUndefined()
  })

  test('a member is known by Galera’s id of it, a plain server by its settings, however they are asked for', () => {
    const status = { ...HEALTHY_STATUS, wsrep_gcomm_uuid: 'g' }
    const variables = { ...HEALTHY_VARIABLES, hostname: 'h', port: '3306', datadir: '/d/', server_uuid: 's' }
    expect(parseReport([rows(status), rows(variables)]).serverId).toBe('g')
    expect(identityFrom(readValues(rows(status)), true)).toBe('g')
    const plain = parseReport([rows(status), rows({ ...variables, wsrep_on: 'OFF' })]).serverId
    expect(plain).toBe('s h 3306 /d/')
    expect(identityFrom(readValues(rows(variables)), false)).toBe(plain)
  })

  test('a node that is not Primary reports 2^64-1 as its view', () => {
    const status = {
      ...HEALTHY_STATUS,
      wsrep_cluster_status: 'non-Primary',
      wsrep_cluster_conf_id: '18446744073709551615',
    }
    const report = parseReport([rows(status), rows(HEALTHY_VARIABLES)])
    expect(report.viewId).toBe(18446744073709551615n)
    expect(unfitForReads(report)).toBe('is non-Primary')
  })

  test('a plain server has no wsrep variables, and read_only decides alone', () => {
    const report = parseReport([rows({ Uptime: '1' }), rows({ read_only: 'ON' })])
    expect(report.isGalera).toBe(false)
    expect(unfitForReads(report)).toBeUndefined()
    expect(unfitForWrites(report)).toBe('is read-only')
  })

  test.each(['ON', '1', 'NO_LOCK', 'NO_LOCK_NO_ADMIN'])('read_only=%s refuses writes', (value) => {
    const report = parseReport([rows(HEALTHY_STATUS), rows({ ...HEALTHY_VARIABLES, read_only: value })])
    expect(unfitForWrites(report)).toBe('is read-only')
  })
})

describe('fitness', () => {
  test.each([
    [{ clusterStatus: 'Disconnected' }, 'is Disconnected'],
    [{ localState: 2 }, 'is Donor/Desynced'],
    [{ localState: 1 }, 'is Joining'],
    [{ isReady: false }, 'is not ready (wsrep_ready is OFF)'],
    [{ isDesynced: true }, 'is desynced'],
    [{ isRejecting: true }, 'rejects queries'],
  ])('%o neither reads nor writes', (changes, reason) => {
    expect(unfitForReads(galeraReport(changes))).toBe(reason)
    expect(unfitForWrites(galeraReport(changes))).toBe(reason)
  })
})
