import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'

const PROGRAM = `
const server = require('node:net').createServer()
server.listen({ host: process.argv[1], port: Number(process.argv[2]), backlog: 1 }, () => console.log('listening'))
`
/** The kernel completes one connection more than the backlog for a program that accepts none. */
const BACKLOG = 2

/** An address that answers no connection attempt, not even with a refusal; ends with `close()`. */
export async function silentServer(host: string, port: number): Promise<{ close(): void }> {
  const child = spawn(process.execPath, ['-e', PROGRAM, host, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  child.kill('SIGSTOP')
  const fillers = Array.from({ length: BACKLOG }, () => connect({ host, port }))
  await Promise.all(fillers.map((socket) => once(socket, 'connect')))
  for (const socket of fillers) socket.on('error', () => undefined)
  return {
    close: () => {
      for (const socket of fillers) socket.destroy()
      child.kill('SIGKILL')
    },
  }
}
