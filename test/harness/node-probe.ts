import { connect } from 'node:net'
import { type Kind, node } from '../cluster/index.js'

/** What a stranger who connects to a node meets. */
export type NodeAnswer = 'answers' | 'refuses' | 'accepts, says nothing' | 'unreachable'

const LIMIT_MS = 700

/** The shortest thing to say that makes each kind of server answer; MySQL speaks first. */
const GREETING: Readonly<Record<Kind, string>> = { galera: '', rabbit: 'AMQP\0\0\x09\x01', memcached: 'version\r\n' }

/** Connects like any client, from an address if one is given, and waits for the first byte. Never rejects. */
export function probeNode(kind: Kind, n: number, localAddress?: string): Promise<NodeAnswer> {
  const { host, port } = node(kind, n)
  return new Promise((resolve) => {
    let isConnected = false
    const socket = connect({ host, port, ...(localAddress === undefined ? {} : { localAddress }) })
    const end = (answer: NodeAnswer): void => {
      clearTimeout(timer)
      socket.resetAndDestroy()
      resolve(answer)
    }
    const timer = setTimeout(() => end(isConnected ? 'accepts, says nothing' : 'unreachable'), LIMIT_MS)
    socket.on('connect', () => {
      isConnected = true
      socket.write(GREETING[kind])
    })
    socket.on('data', () => end('answers'))
    socket.on('error', () => end('refuses'))
    socket.on('close', () => end('refuses'))
  })
}
