/** A connection as its server's process list has it. @internal */
export interface ServerThread {
  readonly id: number
  /** The port of this side, or of a proxy. An id alone may be another server's. */
  readonly clientPort: number
  /** Its command is `Sleep`: it waits for us. */
  readonly isAsleep: boolean
}

/** One answer to {@link processListSql}. @internal */
export interface ProcessList {
  /** Tells servers behind one address apart. */
  readonly server: string
  /** The member of the Galera cluster that answered; `undefined` when it cannot be asked in SQL. */
  readonly memberId: string | undefined
  readonly threads: readonly ServerThread[]
}

/** A connection of ours on which an answer is due. @internal */
export interface Flow {
  readonly threadId: number
  readonly localPort: number | undefined
  /** The member of the Galera cluster that it leads to; new with each start of a server. */
  readonly memberId: string | undefined
  /** Changes whenever bytes went through. */
  readonly traffic: number
}

/** What was seen of a flow at a check. @internal */
export interface FlowSighting {
  readonly server: string
  readonly isAsleep: boolean
  readonly traffic: number
}

/** `lost` says why; else `sighting` is what the next check is to be compared with. @internal */
export type FlowVerdict =
  { readonly lost: string } | { readonly lost: undefined; readonly sighting: FlowSighting | undefined }

/** The member of the Galera cluster that runs this; MySQL's own builds cannot say it in an expression. @internal */
export function memberIdSql(isMariaDb: boolean): string {
  if (!isMariaDb) return 'NULL'
  return "(SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'WSREP_GCOMM_UUID')"
}

/** Own threads are seen without any privilege; the asking one is always among them and names the server. @internal */
export function processListSql(threadIds: readonly number[], isMariaDb: boolean): string {
  return [
    `SELECT CONCAT_WS(' ', @@hostname, @@port, @@datadir) AS server, ${memberIdSql(isMariaDb)} AS member,`,
    'ID AS id, HOST AS host, COMMAND AS command',
    `FROM information_schema.PROCESSLIST WHERE ID IN (CONNECTION_ID(), ${threadIds.join(', ')})`,
  ].join(' ')
}

/** Reads the rows of {@link processListSql}; `undefined` when there are none. @internal */
export function parseProcessList(rows: unknown): ProcessList | undefined {
  const list = rows as readonly Readonly<Record<'server' | 'member' | 'id' | 'host' | 'command', unknown>>[]
  const [first] = list
  if (first === undefined) return undefined
  const threads = list.map(({ id, host, command }) => ({
    id: Number(id),
    clientPort: Number(/:(\d+)$/.exec(String(host))?.[1] ?? 0),
    isAsleep: command === 'Sleep',
  }))
  return {
    server: String(first.server),
    memberId: typeof first.member === 'string' ? first.member : undefined,
    threads,
  }
}

/**
 * Tells a dropped flow from a statement that runs long, by what its server does.
 *
 * Nothing is concluded about a connection that was never seen: behind a proxy or a balancing address the list may be
 * another server's. Asleep once may be an answer on its way, so that it takes two checks between which not a byte came
 * or went. @internal
 */
export function judgeFlow(before: FlowSighting | undefined, flow: Flow, list: ProcessList): FlowVerdict {
  const known = before?.server === list.server ? before : undefined
  const isSameMember = flow.memberId !== undefined && flow.memberId === list.memberId
  const thread = list.threads.find(
    ({ id, clientPort }) => id === flow.threadId && (isSameMember || clientPort === flow.localPort),
  )
  const isStill = known?.traffic === flow.traffic
  if (thread === undefined) {
    if (known !== undefined && isStill) return { lost: 'the server has ended it' }
    return { lost: undefined, sighting: known === undefined ? undefined : { ...known, traffic: flow.traffic } }
  }
  if (thread.isAsleep && known?.isAsleep === true && isStill) return { lost: 'the server waits for a statement' }
  const { isAsleep } = thread
  return { lost: undefined, sighting: { server: list.server, isAsleep, traffic: flow.traffic } }
}
