import { fileURLToPath } from 'node:url'
import type { ConsumerNews, ConsumerReport, ConsumerRequest } from './amqp-consumer-child.js'
import { ForkedProgram } from './forked-program.js'
import { onOwnClock } from './monotonic.js'

const CHILD = fileURLToPath(new URL('amqp-consumer-child.ts', import.meta.url))

/** A process of its own that consumes with a client of its own. */
export class ConsumerProcess extends ForkedProgram<ConsumerReport, ConsumerNews> {
  /** `onHandled` is called for every message that was handed to the application. */
  constructor(request: ConsumerRequest, onHandled: (id: string, at: number) => void) {
    super('consumer process', CHILD, request, ({ messages }) => {
      for (const [id, at] of messages) onHandled(id, onOwnClock(at))
    })
  }
}

/** Starts so many of them and waits until all consume; ends them all when one does not. */
export async function startConsumers(
  count: number,
  request: ConsumerRequest,
  onHandled: (process: number, id: string, at: number) => void,
): Promise<readonly ConsumerProcess[]> {
  const processes = Array.from({ length: count }, (_, i) => {
    return new ConsumerProcess(request, (id, at) => onHandled(i, id, at))
  })
  try {
    await Promise.all(processes.map((each) => each.open()))
    return processes
  } catch (error) {
    await Promise.all(processes.map((each) => each.stop()))
    throw error
  }
}
