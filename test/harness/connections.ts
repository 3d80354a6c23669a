import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** One established TCP connection of a process. */
export interface Connection {
  readonly localPort: number
  /** `host:port` of this side. */
  readonly local: string
  /** `host:port` of the other side. */
  readonly remote: string
}

const ESTABLISHED = '01'

/** The established IPv4 connections of processes, as the kernel has them: no client can be wrong about that. */
export function connections(pids: readonly number[] = [process.pid]): readonly Connection[] {
  const own = new Set(pids.flatMap(socketInodes))
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local, remote, state, , , , , , inode] = line.trim().split(/\s+/)
      if (state !== ESTABLISHED || local === undefined || remote === undefined || inode === undefined) return []
      if (!own.has(inode)) return []
      const localPort = Number.parseInt(local.split(':')[1] ?? '', 16)
      return [{ localPort, local: formatted(local), remote: formatted(remote) }]
    })
}

function socketInodes(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}

/** `0101007F:0CEA` is 127.0.1.1:3306: the address is in the byte order of the machine. */
function formatted(hex: string): string {
  const [address = '', port = ''] = hex.split(':')
  const bytes = address.match(/../g) ?? []
  return `${bytes
    .map((byte) => Number.parseInt(byte, 16))
    .reverse()
    .join('.')}:${Number.parseInt(port, 16)}`
}
