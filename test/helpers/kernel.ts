import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'

/** The kernel's name of a TCP state, as `/proc/net/tcp` numbers them. */
const STATES: Readonly<Record<string, string>> = {
  '01': 'ESTABLISHED',
  '02': 'SYN_SENT',
  '03': 'SYN_RECV',
  '04': 'FIN_WAIT1',
  '05': 'FIN_WAIT2',
  '06': 'TIME_WAIT',
  '07': 'CLOSE',
  '08': 'CLOSE_WAIT',
  '09': 'LAST_ACK',
  '0A': 'LISTEN',
  '0B': 'CLOSING',
}

/** One end of a TCP connection, as the kernel sees it. */
export interface KernelSocket {
  readonly state: string
  /** Bytes that the kernel still wants to deliver. */
  readonly sendQueue: number
}

/** The ports that name a connection between two sockets on 127.0.0.1; remembered, since a dead socket forgets them. */
export interface PortPair {
  readonly local: number
  readonly remote: number
}

export function portPair(socket: Socket): PortPair {
  const { localPort, remotePort } = socket
  if (localPort === undefined || remotePort === undefined) throw new Error('the socket is not connected')
  return { local: localPort, remote: remotePort }
}

/** What the kernel holds for the local end of a connection, or of all to a port; nothing when it is gone. */
export function kernelSockets({ local, remote }: Partial<PortPair>): readonly KernelSocket[] {
  const lines = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1)
  return lines.flatMap((line) => {
    const [, from = '', to = '', state = '', queues = ''] = line.trim().split(/\s+/)
    if (portOf(from) !== (local ?? portOf(from)) || portOf(to) !== remote) return []
    return [{ state: STATES[state] ?? state, sendQueue: Number.parseInt(queues.split(':')[0] ?? '', 16) }]
  })
}

function portOf(address: string): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16)
}
