import type { Gap, ReportedFailover } from '../test/harness/index.js'
import { errorCount } from '../test/harness/index.js'
import { deliveryLimitMs } from './amqp-goals.js'
import type { ClientRun } from './failover.js'

/** What the processes that consume say of themselves, as far as it is printed. */
interface ConsumerDetails {
  readonly failovers?: readonly ReportedFailover[]
}

/** One run of a client of the broker in a few lines: gaps, limits, and what the client reported. */
export function runLine(run: ClientRun): string {
  const { main, series, limitMs, findings, failovers, unhandled, details, loopDelayMs, firstErrors } = run
  const { leftMs, duplicates = 0, notConsumed = 0, delivered = 0 } = findings.notes
  const gaps = Object.entries(series).map(([name, gap]) => `${name} ${inMs(gap)}`)
  const consumers = (details ?? []) as readonly (ConsumerDetails | null)[]
  return [
    [
      `gap ${inMs(main.gap)} (limit ${Math.round(limitMs)})`,
      `${gaps.join(', ')} (limit ${Math.round(deliveryLimitMs(run))})`,
      `left ${leftMs === undefined ? 'never' : Math.round(leftMs)} ms`,
      `${main.acknowledged} confirmed, ${delivered} delivered`,
      `errors ${errorCount(main)}, lost ${findings.lost}, twice ${findings.twice}, unsettled ${main.unsettled}`,
      `unhandled ${unhandled.length}, duplicates ${duplicates}, not consumed ${notConsumed}`,
      `event loop ${Math.round(loopDelayMs)} ms`,
    ].join('; '),
    ...failovers.map((each) => `publisher: ${inWords(each)}`),
    ...consumers.flatMap((each, i) =>
      (each?.failovers ?? []).map((failover) => `consumer ${i + 1}: ${inWords(failover)}`),
    ),
    ...firstErrors.slice(0, 3).map((error) => `error at ${error}`),
    ...unhandled.slice(0, 3).map((error) => `unhandled: ${error}`),
  ].join('\n    ')
}

/** One run of callers in a few lines. */
export function callsLine(run: ClientRun): string {
  const { main, sides, limitMs, findings, failovers, unhandled, movedMs, firstErrors, loopDelayMs } = run
  const { inFlight = 0, failedLater = 0, failedAfterMove = 0, copies = 0, repliesLost = 0 } = findings.notes
  const errors = Object.entries(main.errors).map(([kind, count]) => `${count} ${kind}`)
  const others = Object.entries(sides).map(([name, side]) => {
    return `${name}: gap ${inMs(side.gap)}, ${errorCount(side)} of ${side.started} failed`
  })
  return [
    [
      `gap ${inMs(main.gap)} (limit ${Math.round(limitMs)})`,
      ...others,
      `${main.acknowledged} answered, ${inFlight} in flight`,
      `${failedLater} that began later failed, ${failedAfterMove} that began after the caller had moved`,
      `failed: ${errors.length === 0 ? 'none' : errors.join(', ')}`,
      `moved ${movedMs === undefined ? '-' : Math.round(movedMs)} ms, unsettled ${main.unsettled}`,
      `lost ${findings.lost}, twice ${findings.twice}, copies ${copies}, replies lost ${repliesLost}`,
      `unhandled ${unhandled.length}, event loop ${Math.round(loopDelayMs)} ms`,
    ].join('; '),
    ...failovers.map((each) => `caller: ${inWords(each)}`),
    ...firstErrors.slice(0, 3).map((error) => `error at ${error}`),
    ...unhandled.slice(0, 3).map((error) => `unhandled: ${error}`),
  ].join('\n    ')
}

function inMs({ ms, hasRecovered }: Gap): string {
  return hasRecovered ? String(Math.round(ms)) : 'never'
}

function inWords({ from, to, detectedMs, elapsedMs, cause }: ReportedFailover): string {
  const times = `detected ${Math.round(detectedMs)} ms, elapsed ${Math.round(elapsedMs)} ms`
  return `${from} -> ${String(to)}, ${times}, ${String(cause)}`
}
