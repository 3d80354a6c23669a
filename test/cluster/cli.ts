/** Command line of the clusters: `npm run cluster -- VERB [galera|rabbit|memcached] [n]`. */
import { parseArgs } from 'node:util'
import * as cluster from './index.js'
import { requireRoot } from './packages.js'
import { account } from './process.js'

const USAGE = `usage: npm run cluster -- VERB [galera|rabbit|memcached] [n] [options]

  up [KIND]               make it whole: install, create, heal, start; keeps data
                          --suspect-timeout-ms MS  Galera's evs.suspect_timeout (3000)
                          --net-ticktime S         RabbitMQ's net_ticktime (8)
  down [KIND]             kill it and remove everything it left
  status [KIND]           processes, roles and faults
  start KIND [n]          start a dead node, or all dead nodes together
  kill KIND n             SIGKILL
  stop KIND n             end it properly
  freeze KIND n           SIGSTOP
  thaw KIND n             SIGCONT
  blackhole KIND n        drop what clients and node send each other
                          --from IP  only clients with this source address
                          --port P   only the connection from this client port
                          --user U   only clients of this user (name or uid)
                          --reject   answer with a TCP reset instead
  reset KIND n            reset all client connections, once
  delay KIND n MS         delay new client connections by MS each way
  partition KIND n        cut it off the other nodes, not off its clients
  alarm rabbit n [on|off] memory alarm
  heal [KIND] [n]         undo freeze, blackhole, delay, partition, alarm`

interface CommandLine {
  readonly verb: string
  readonly kind: cluster.Kind | undefined
  readonly n: number | undefined
  readonly rest: string | undefined
  readonly flags: Flags
}

type Flags = ReturnType<typeof parse>['values']

const progress = (line: string): void => console.log(line)

type Verb = (line: CommandLine) => Promise<unknown>

const VERBS: Readonly<Record<string, Verb>> = {
  up: async ({ kind, flags }) => {
    await cluster.up(kinds(kind), {
      progress,
      ...(flags['suspect-timeout-ms'] === undefined ? {} : { suspectTimeoutMs: count(flags['suspect-timeout-ms']) }),
      ...(flags['net-ticktime'] === undefined ? {} : { netTicktimeSeconds: count(flags['net-ticktime']) }),
    })
    await printStatus(kinds(kind))
  },
  down: ({ kind }) => cluster.down(kinds(kind), { progress }),
  status: ({ kind }) => printStatus(kinds(kind)),
  start: async (line) => {
    await cluster.start(needKind(line), line.n, { progress })
    await printStatus(kinds(line.kind))
  },
  kill: (line) => cluster.kill(needKind(line), needNumber(line)),
  stop: (line) => cluster.stop(needKind(line), needNumber(line)),
  freeze: (line) => cluster.freeze(needKind(line), needNumber(line)),
  thaw: (line) => cluster.thaw(needKind(line), needNumber(line)),
  blackhole: (line) =>
    cluster.blackhole(needKind(line), needNumber(line), {
      ...(line.flags.from === undefined ? {} : { from: line.flags.from }),
      ...(line.flags.port === undefined ? {} : { fromPort: count(line.flags.port) }),
      ...(line.flags.user === undefined ? {} : { uid: userId(line.flags.user) }),
      reject: line.flags.reject ?? false,
    }),
  reset: (line) => cluster.reset(needKind(line), needNumber(line)),
  delay: (line) => cluster.delay(needKind(line), needNumber(line), count(line.rest)),
  partition: (line) => cluster.partition(needKind(line), needNumber(line)),
  alarm: async (line) => {
    if (needKind(line) !== 'rabbit') throw new Error('only rabbit has alarms')
    await cluster.alarm(needNumber(line), line.rest !== 'off')
  },
  heal: ({ kind, n }) => cluster.heal(kind, n, { progress }),
}

// `status | grep -q` closes the pipe when it has seen enough.
process.stdout.on('error', () => undefined)

try {
  const line = read()
  const verb = VERBS[line.verb]
  if (verb === undefined) throw new Error(USAGE)
  requireRoot()
  await verb(line)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}

function parse() {
  return parseArgs({
    allowPositionals: true,
    options: {
      from: { type: 'string' },
      port: { type: 'string' },
      user: { type: 'string' },
      uid: { type: 'string' },
      reject: { type: 'boolean' },
      'suspect-timeout-ms': { type: 'string' },
      'net-ticktime': { type: 'string' },
    },
  })
}

function read(): CommandLine {
  const { positionals, values } = parse()
  const [verb = '', word, number, rest] = positionals
  const kind = cluster.KINDS.find((each) => each === word)
  if (word !== undefined && kind === undefined) throw new Error(`'${word}' is none of ${cluster.KINDS.join(', ')}`)
  const flags = { ...values, ...(values.uid === undefined ? {} : { user: values.uid }) }
  return { verb, kind, n: number === undefined ? undefined : count(number), rest, flags }
}

async function printStatus(asked: readonly cluster.Kind[]): Promise<void> {
  for (const { kind, isWhole, settings, nodes } of await cluster.status(asked)) {
    const parameters = {
      galera: `, suspect timeout ${settings.suspectTimeoutMs} ms`,
      rabbit: `, net_ticktime ${settings.netTicktimeSeconds} s`,
      memcached: '',
    }
    console.log(`${kind}: ${isWhole ? 'whole' : 'NOT whole'}${parameters[kind]}`)
    for (const node of nodes) {
      const words = [`${node.n}  ${node.host}:${node.port}`, `pid ${node.pid ?? '-'}`, node.process, node.role]
      console.log(`  ${[...words, ...node.faults.map((fault) => `FAULT ${fault}`)].join('  ')}`)
    }
  }
}

function kinds(kind: cluster.Kind | undefined): readonly cluster.Kind[] {
  return kind === undefined ? cluster.KINDS : [kind]
}

function needKind({ verb, kind }: CommandLine): cluster.Kind {
  if (kind === undefined) throw new Error(`${verb} needs one of ${cluster.KINDS.join(', ')}`)
  return kind
}

function needNumber({ verb, n }: CommandLine): number {
  if (n === undefined) throw new Error(`${verb} needs the number of a node`)
  return n
}

function count(text: string | undefined): number {
  const value = Number(text)
  if (text === undefined || !Number.isInteger(value) || value < 0) throw new Error(`'${text ?? ''}' is not a number`)
  return value
}

function userId(user: string): number {
  return /^\d+$/.test(user) ? Number(user) : account(user).uid
}
