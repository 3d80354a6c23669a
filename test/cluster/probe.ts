import { connect } from 'node:net'
import { ADMIN_ADDRESS } from './address.js'

/** True when something takes a TCP connection there. From the admin address, so faults do not change the answer. */
export function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, localAddress: ADMIN_ADDRESS })
    const finish = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.setTimeout(1000, () => finish(false))
    socket.once('connect', () => finish(true))
    socket.once('error', () => finish(false))
  })
}
