/**
 * Program: a TCP proxy that passes everything on `delayMs` later, in both directions.
 *
 * Arguments: address, port of the node, file with the {@link DelaySettings}. SIGUSR2 makes it read the file again.
 */
import { readFileSync } from 'node:fs'
import { createServer, connect, type Socket } from 'node:net'
import { ADMIN_ADDRESS, DELAY_PORT_OFFSET } from './address.js'

/** What the proxy reads from its file. */
export interface DelaySettings {
  readonly delayMs: number
  /** Take no new connections, and end with the last one. */
  readonly isDraining: boolean
}

/** Stop reading from one side when so many bytes are on their way to the other. */
const IN_FLIGHT_LIMIT = 4 * 1024 * 1024

const [host = '', port = '', file = ''] = process.argv.slice(2)
let settings = read()
let connectionCount = 0

const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
  // An address that the firewall does not redirect, else the proxy would connect to itself.
  const target = { host, port: Number(port), localAddress: ADMIN_ADDRESS, allowHalfOpen: true, noDelay: true }
  const upstream = connect(target)
  connectionCount += 1
  client.once('close', () => {
    connectionCount -= 1
    endIfDrained()
  })
  forward(client, upstream)
  forward(upstream, client)
})

process.on('SIGUSR2', () => {
  settings = read()
  if (settings.isDraining) server.close()
  else if (!server.listening) listen()
  endIfDrained()
})
listen()

function read(): DelaySettings {
  return JSON.parse(readFileSync(file, 'utf8')) as DelaySettings
}

function listen(): void {
  server.listen({ host, port: Number(port) + DELAY_PORT_OFFSET })
}

function endIfDrained(): void {
  if (settings.isDraining && connectionCount === 0) process.exit(0)
}

/** Hands data, end and abort of one socket on to the other, each after the delay and in order. */
function forward(from: Socket, to: Socket): void {
  let lastDue = 0
  let inFlight = 0
  const later = (action: () => void): void => {
    // Never before an earlier one, even when the delay has become shorter meanwhile.
    lastDue = Math.max(lastDue, performance.now() + settings.delayMs)
    setTimeout(action, lastDue - performance.now())
  }
  from.on('data', (chunk) => {
    inFlight += chunk.length
    if (inFlight > IN_FLIGHT_LIMIT) from.pause()
    later(() => {
      to.write(chunk, () => {
        inFlight -= chunk.length
        if (inFlight <= IN_FLIGHT_LIMIT) from.resume()
      })
    })
  })
  from.on('end', () => {
    later(() => to.end())
  })
  // A reset must arrive as a reset; 'close' follows and finds the other side gone already.
  from.on('error', () => {
    later(() => to.resetAndDestroy())
  })
  from.on('close', () => {
    later(() => to.destroySoon())
  })
}
