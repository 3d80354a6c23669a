/** The other side of {@link RemoteHands}: does what it is asked to, until nobody asks any more. */
import { OWN_HANDS } from '../test/harness/index.js'
import type { Answer, Request } from './remote-hands.js'

process.on('message', (request: Request) => {
  void perform(request).then((answer) => process.send?.(answer))
})
process.on('disconnect', () => process.exit())

type Action = (...args: Request['args']) => Promise<unknown>

async function perform({ id, name, args }: Request): Promise<Answer> {
  try {
    const actions = OWN_HANDS as unknown as Readonly<Record<Request['name'], Action>>
    return { id, value: await actions[name](...args) }
  } catch (error) {
    return { id, problem: error instanceof Error ? error.message : String(error) }
  }
}
