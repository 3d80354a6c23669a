import { DELAY_PORT_OFFSET } from './address.js'
import { run, runOrThrow } from './process.js'
import { withLock } from './state.js'

/** The one table of this module; nothing outside of it is ever touched. */
const TABLE = 'inet openstack_ha'

/** Before destination NAT, so that a rule sees the port that the client asked for. */
const TABLE_TEXT = `
add table ${TABLE}
add chain ${TABLE} output { type filter hook output priority -150; policy accept; }
`

/** Comment of the rule that is no fault. */
const TRACKING = 'tracking'

/**
 * Needed by delays only: it switches connection tracking on for the whole machine.
 *
 * The rule never matches. Without any that asks for it the kernel ends the tracking, and with it the translation
 * of connections that still go through a proxy.
 */
const NAT_TEXT = `
add chain ${TABLE} nat { type nat hook output priority -100; policy accept; }
add rule ${TABLE} nat ct state established accept comment "${TRACKING}"
`

/** One fault in the firewall: rules that carry the same name as their comment. */
export interface Fault {
  /** `kind-n-fault`, with details of the fault behind it. */
  readonly name: string
  readonly rules: readonly string[]
  readonly natRules?: readonly string[]
  /** A set of client `address . port` that the rules may fill. */
  readonly set?: string
}

/** Adds a fault in one transaction; one that is already there stays as it is. */
export async function addFault({ name, rules, natRules = [], set }: Fault): Promise<void> {
  await withLock('nft', 10_000, async () => {
    const present = (await listRules()).map((rule) => rule.comment)
    if (present.includes(name)) return
    const comment = `comment "${name}"`
    const text = [
      TABLE_TEXT,
      natRules.length > 0 && !present.includes(TRACKING) ? NAT_TEXT : '',
      set === undefined ? '' : setText(set),
      ...rules.map((rule) => `add rule ${TABLE} output ${rule} ${comment}`),
      ...natRules.map((rule) => `add rule ${TABLE} nat ${rule} ${comment}`),
    ]
    await nft(`${text.join('\n')}\n`)
  })
}

/** Emptied, too: it outlives its rules, and must not cut those that the last fault of that name had cut. */
function setText(set: string): string {
  const type = 'type ipv4_addr . inet_service; flags dynamic; size 65535;'
  return `add set ${TABLE} ${set} { ${type} }\nflush set ${TABLE} ${set}`
}

/** Removes the faults whose name matches, and the table with the last of them unless `keepTable`. */
export async function removeFaults(matches: (name: string) => boolean, keepTable: boolean): Promise<void> {
  await withLock('nft', 10_000, async () => {
    const rules = await listRules()
    const gone = rules.filter(({ comment }) => matches(comment))
    if (rules.every((rule) => gone.includes(rule) || rule.comment === TRACKING) && !keepTable) {
      await run('nft', ['delete', 'table', ...TABLE.split(' ')])
      return
    }
    const deletions = gone.map(({ chain, handle }) => `delete rule ${TABLE} ${chain} handle ${handle}`)
    if (deletions.length > 0) await nft(`${deletions.join('\n')}\n`)
  })
}

/** Names of the faults in force. */
export async function listFaults(): Promise<readonly string[]> {
  const names = (await listRules()).map(({ comment }) => comment)
  return [...new Set(names.filter((name) => name !== TRACKING))]
}

/** Both ports under which clients reach a node: its own, and that of a delay proxy before it. */
export function clientPorts(port: number): string {
  return `{ ${port}, ${String(port + DELAY_PORT_OFFSET)} }`
}

interface Rule {
  readonly chain: string
  readonly handle: number
  readonly comment: string
}

async function listRules(): Promise<readonly Rule[]> {
  const { code, stdout } = await run('nft', ['-j', '-a', 'list', 'table', ...TABLE.split(' ')])
  // No such table: no fault.
  if (code !== 0) return []
  const { nftables } = JSON.parse(stdout) as { nftables: readonly { rule?: Partial<Rule> }[] }
  return nftables.flatMap(({ rule }) => {
    if (rule?.chain === undefined || rule.handle === undefined) return []
    return [{ chain: rule.chain, handle: rule.handle, comment: rule.comment ?? '' }]
  })
}

async function nft(text: string): Promise<void> {
  await runOrThrow('nft', ['-f', '-'], { input: text })
}
