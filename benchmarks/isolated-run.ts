import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { RunResult } from '../test/harness/index.js'
import type { RunRequest } from './one-run.js'

const ONE_RUN = fileURLToPath(new URL('one-run.ts', import.meta.url))
/** Opening, verification and the restart of a node come on top of the time that is looked at. */
const ALLOWANCE_MS = 300_000

/** Runs {@link RunRequest} in a child process; rejects when that gives no result. */
export function isolatedRun(request: RunRequest): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    // What a client prints is not part of the table.
    const child = fork(ONE_RUN, [JSON.stringify(request)], { stdio: ['ignore', 2, 2, 'ipc'] })
    const limitMs = (request.options.seconds ?? 15) * 1000 + ALLOWANCE_MS
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
    child.on('message', (result) => resolve(result as RunResult))
    child.on('exit', (code, signal) => {
      clearTimeout(timer)
      // After the result was taken this changes nothing.
      reject(new Error(`${request.subject} ${request.fault}: run ended with ${signal ?? String(code)}`))
    })
  })
}
