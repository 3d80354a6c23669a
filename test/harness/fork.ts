import { type ChildProcess, fork } from 'node:child_process'

/** Starts a program of ours that gets `request` as its only argument, in JSON, and talks by messages. */
export function forkTypeScript(program: string, request: unknown): ChildProcess {
  const own = process.execArgv.join(' ')
  // What translates TypeScript here need not be there: a test runner does it in its own way.
  const execArgv = own.includes('tsx') ? process.execArgv : ['--import', 'tsx']
  // What a client prints is not part of the result.
  return fork(program, [JSON.stringify(request)], { execArgv, stdio: ['ignore', 2, 2, 'ipc'] })
}
