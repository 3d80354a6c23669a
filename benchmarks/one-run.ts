/** One run in a process of its own: what a client leaves behind, or dies of, is no business of the next one. */
import { type AmqpSceneOptions, type FaultName, measure, type RunOptions } from '../test/harness/index.js'
import { CATALOGUE, type Service } from './catalogue.js'

/** What the parent asks for. */
export interface RunRequest {
  readonly service: Service
  readonly subject: string
  readonly fault: FaultName
  /** The situation of a client of the broker. */
  readonly scene?: Partial<AmqpSceneOptions>
  readonly options: Pick<RunOptions, 'seconds' | 'warmMs' | 'healAfterMs' | 'target'>
}

const request = JSON.parse(process.argv[2] ?? 'null') as RunRequest
const make = CATALOGUE[request.service][request.subject]
if (make === undefined) throw new Error(`unknown client ${request.subject}`)
const progress = (line: string): void => console.error(`  ${line}`)
const result = await measure(make(request.scene), { ...request.options, fault: request.fault, progress })
process.send?.(result, () => process.exit(0))
