import type { DriverStatement } from './driver.js'

/** Galera gives each member an id; of a plain server these settings together are as good. */
const GALERA = ['wsrep_gcomm_uuid']
const PLAIN = ['server_uuid', 'hostname', 'port', 'datadir']

/** Names of the status values and of the variables that tell one server from another. @internal */
export const IDENTITY: Readonly<Record<'status' | 'variables', string>> = {
  status: quoted(GALERA),
  variables: quoted(PLAIN),
}

/** Whatever form the caller wants rows in, these are read here. */
const READABLE = {
  rowsAsArray: false,
  nestTables: false,
  typeCast: (_field: unknown, next: () => unknown): unknown => next(),
}

/**
 * Asks a connection which server it leads to.
 *
 * A host of the list may be a virtual address, a proxy or a name whose address changes: then two connections to it can
 * lead to two servers. @internal
 */
export function identityStatement(isGalera: boolean): DriverStatement & typeof READABLE {
  const what = isGalera ? `STATUS WHERE Variable_name IN (${IDENTITY.status})` : `VARIABLES WHERE Variable_name IN (${IDENTITY.variables})` // prettier-ignore
  return { sql: `SHOW GLOBAL ${what}`, ...READABLE }
}

/** Which server it is, by the rows of SHOW STATUS or SHOW VARIABLES as {@link readValues} returns them. @internal */
export function identityFrom(values: ReadonlyMap<string, string>, isGalera: boolean): string {
  return (isGalera ? GALERA : PLAIN).map((name) => values.get(name) ?? '').join(' ')
}

/** Values by name, of the rows that SHOW STATUS and SHOW VARIABLES return. @internal */
export function readValues(rows: readonly Record<string, unknown>[]): Map<string, string> {
  return new Map(rows.map((row) => [String(row['Variable_name']).toLowerCase(), String(row['Value'])]))
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ')
}
