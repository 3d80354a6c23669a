import { readFileSync } from 'node:fs'

/** Receives one line per step of a long operation. */
export type Progress = (line: string) => void

/** Resolves after `ms`. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Settings of {@link waitFor}. */
export interface WaitOptions {
  readonly timeoutMs: number
  readonly everyMs?: number
  /** A log file whose end belongs in the error. */
  readonly log?: string
}

/**
 * Polls `problem` until it returns undefined.
 *
 * `problem` says why the wait is not over; its last word ends up in the error, with the tail of the log.
 * If it throws, the wait ends at once with that error.
 */
export async function waitFor(
  what: string,
  options: WaitOptions,
  problem: () => Promise<string | undefined> | string | undefined,
): Promise<void> {
  const begin = performance.now()
  for (;;) {
    const reason = await problem()
    if (reason === undefined) return
    const elapsedMs = performance.now() - begin
    if (elapsedMs > options.timeoutMs) {
      const tail = options.log === undefined ? '' : `\n${tailOf(options.log)}`
      throw new Error(`${what}: not after ${String(Math.round(elapsedMs))} ms (${reason})${tail}`)
    }
    await sleep(options.everyMs ?? 100)
  }
}

/** The last lines of a log file, with its name; never throws. */
export function tailOf(file: string, lines = 15): string {
  try {
    return `--- end of ${file}\n${readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')}`
  } catch {
    return `--- ${file} cannot be read`
  }
}

/** Rejects with `what` when the promise takes longer than `ms`; the promise itself goes on. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what}: no answer after ${ms} ms`))
    }, ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
