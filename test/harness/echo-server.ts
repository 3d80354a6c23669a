import { fileURLToPath } from 'node:url'
import type { EchoNews, EchoReport, EchoRequest } from './echo-server-child.js'
import { ForkedProgram } from './forked-program.js'

const CHILD = fileURLToPath(new URL('echo-server-child.ts', import.meta.url))

/** An RPC server of this package in a process of its own, so that it can be killed. */
export class EchoServerProcess extends ForkedProgram<EchoReport, EchoNews> {
  /** `onExecuted` is called with the value of each request that its method got. */
  constructor(request: EchoRequest, onExecuted: (value: unknown) => void) {
    super('server process', CHILD, request, ({ values }) => {
      for (const value of values) onExecuted(value)
    })
  }
}
