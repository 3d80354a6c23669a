import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './process.js'
import { kindDir } from './state.js'

/** The clusters' own port mapper: the machine's may serve a RabbitMQ that is not ours. */
export const EPMD_PORT = 4379

/** Erlang node name. All are on `localhost`, told apart by their distribution ports. */
export function erlangName(n: number): string {
  return `r${n}@localhost`
}

/** The port on which a node takes connections of the other nodes. */
export function distributionPort(n: number): number {
  return 25680 + n
}

/** What a node says about its cluster. */
export interface RabbitStatus {
  readonly isBooted: boolean
  readonly running: readonly string[]
  readonly partitions: readonly string[]
  readonly alarms: readonly string[]
  readonly uptimeSeconds: number
}

/** Only calls that the node answers by itself: a question about another node hangs when that one is frozen. */
const STATUS = `rabbit_json:encode(#{
  isBooted => rabbit:is_booted(node()),
  running => mnesia:system_info(running_db_nodes),
  partitions => rabbit_node_monitor:partitions(),
  alarms => [case A of {{resource_limit, W, _}, _} -> W; {W, _} -> W; W -> W end || A <- rabbit_alarm:get_local_alarms()],
  uptimeSeconds => element(1, erlang:statistics(wall_clock)) div 1000})`

/** Asks a node what it is; undefined when it does not answer or is still booting. */
export async function rabbitStatus(n: number): Promise<RabbitStatus | undefined> {
  try {
    return JSON.parse(await evaluate(n, STATUS)) as RabbitStatus
  } catch {
    return undefined
  }
}

/**
 * Evaluates an Erlang expression that gives a string or binary on a node.
 *
 * By erl_call, which takes milliseconds; rabbitmqctl starts a virtual machine for each question.
 */
export async function evaluate(n: number, expression: string, timeoutMs = 2000): Promise<string> {
  const guarded = `try ${expression} of B -> iolist_to_binary([<<"ok:">>, B]) catch X:Y -> iolist_to_binary(io_lib:format("~p", [{X, Y}])) end`
  const cookie = readFileSync(join(kindDir('rabbit'), '.erlang.cookie'), 'utf8')
  const seconds = String(Math.ceil(timeoutMs / 1000))
  const args = ['-sname', erlangName(n), '-c', cookie, '-timeout', seconds, '-e']
  const env = { ...process.env, ERL_EPMD_PORT: String(EPMD_PORT) }
  const result = await run('erl_call', args, { timeoutMs, env, input: `binary_to_list(${guarded}).\n` })
  // Printed as {ok, "..."} without any escapes.
  const value = /^\{ok, "(?<value>.*)"\}\s*$/s.exec(result.stdout)?.groups?.['value']
  if (value?.startsWith('ok:') === true) return value.slice(3)
  throw new Error(`${erlangName(n)}: ${value ?? (result.stderr.trim() || 'no answer')}`)
}
