/** One run in a process of its own: what a client leaves behind, or dies of, is no business of the next one. */
import { setPriority } from 'node:os'
import { type FaultName, measure, type RunOptions } from '../test/harness/index.js'
import { CATALOGUE, type SceneOptions, type Service } from './catalogue.js'
import { RemoteHands } from './remote-hands.js'

/** What the parent asks for. */
export interface RunRequest {
  readonly service: Service
  readonly subject: string
  readonly fault: FaultName
  /** The situation of a client of the broker. */
  readonly scene?: SceneOptions
  readonly options: Pick<RunOptions, 'seconds' | 'warmMs' | 'healAfterMs' | 'target' | 'settleMs'>
}

/** What runs beside it, to break nodes and to look at them, must not hold up what is measured by the millisecond. */
const PRIORITY = -10

const request = JSON.parse(process.argv[2] ?? 'null') as RunRequest
const make = CATALOGUE[request.service][request.subject]
if (make === undefined) throw new Error(`unknown client ${request.subject}`)
// A service does not have what translates TypeScript here look for the origin of each error.
process.setSourceMapsEnabled(false)
const progress = (line: string): void => console.error(`  ${line}`)
const hands = new RemoteHands()
if (request.service === 'memcached') raisePriority()
const result = await measure(make(request.scene), { ...request.options, fault: request.fault, progress, hands })
process.send?.(result, () => process.exit(0))

/** Of this process alone: the one that has the hands runs already. It takes the rights of root. */
function raisePriority(): void {
  try {
    setPriority(PRIORITY)
  } catch (error) {
    progress(`measured at the usual priority: ${String(error)}`)
  }
}
