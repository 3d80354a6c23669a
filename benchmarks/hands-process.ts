/** The other side of {@link RemoteHands}: does what it is asked to, until nobody asks any more. */
import { type Hands, OWN_HANDS } from '../test/harness/index.js'
import type { Answer, Request } from './remote-hands.js'

process.on('message', (request: Request) => {
  void perform(request).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => process.exit())

async function perform({ id, name, args }: Request): Promise<Answer> {
  try {
    const action = OWN_HANDS[name] as (...args: Parameters<Hands[typeof name]>) => Promise<unknown>
    return { id, value: await action(...args) }
  } catch (error) {
    return { id, problem: error instanceof Error ? error.message : String(error) }
  }
}
