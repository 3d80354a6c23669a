import { percentile, type UnhandledWatch, type Window, type Workload } from '../../test/harness/index.js'
import type { ActResult } from './acts.js'
import type { TokenService } from './token-service.js'

/** What the demo showed. */
export interface Verdict {
  readonly rows: readonly (readonly [string, string])[]
  /** What went wrong; empty when all is well. */
  readonly problems: readonly string[]
}

/** Compares what the callers were told with what the servers have. */
export async function judge(
  service: TokenService,
  load: Workload,
  results: readonly ActResult[],
  unhandled: UnhandledWatch,
  window: Window,
): Promise<Verdict> {
  const { recorder } = load
  const acknowledged = [...recorder.ledger.ids('acknowledged')]
  await service.announcedAll(acknowledged)
  const { tokens, issued } = await service.stored()
  const { lost, twice } = recorder.ledger.compare(tokens)
  const unannounced = acknowledged.filter((id) => !service.announced.has(id))
  const stored = [...tokens.values()].reduce((sum, count) => sum + count, 0)
  const errors = [...recorder.errors].map(([code, count]) => `${count} x ${code}`).join(', ')
  const gap = recorder.gap(window)
  const counts: readonly (readonly [string, number])[] = [
    ['acknowledged tokens lost in the database', lost.length],
    ['tokens stored twice', twice.length],
    ['acknowledged announcements lost', unannounced.length],
    ['counters that disagree with the tokens', Math.abs(stored - issued)],
    ['requests that never ended', recorder.unsettled],
    ['unhandled errors in the process', unhandled.errors.length],
    ['failovers that did not happen', results.filter(({ failover }) => failover === undefined).length],
  ]
  const durations = results.map(({ failover }) => failover?.elapsedMs ?? 0)
  return {
    rows: [
      ['requests acknowledged', String(recorder.acknowledged)],
      ['requests failed', recorder.errorCount === 0 ? '0' : errors],
      ['longest pause between two answers', `${Math.round(gap.ms)} ms`],
      ...results.map(({ act, victim, failover }): readonly [string, string] => [
        `failover: ${act.title} ${victim}`,
        failover === undefined ? 'none' : `${Math.round(failover.elapsedMs)} ms, to ${failover.to ?? 'its heirs'}`,
      ]),
      ['longest failover', `${Math.round(percentile(durations, 1))} ms`],
      ['announcements that came twice', String([...service.announced.values()].filter((count) => count > 1).length)],
      ...counts.map(([name, count]): readonly [string, string] => [name, String(count)]),
    ],
    problems: counts.filter(([, count]) => count > 0).map(([name, count]) => `${name}: ${count}`),
  }
}

/** The summary as a table. */
export function table({ rows, problems }: Verdict): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  const lines = rows.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`)
  const end =
    problems.length === 0
      ? 'Nothing acknowledged was lost, and every failover happened.'
      : `FAILED: ${problems.join('; ')}`
  return ['', ...lines, '', end].join('\n')
}
