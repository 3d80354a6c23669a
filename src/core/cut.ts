import type { Socket } from 'node:net'

/** What Node's TCP handle can do beneath the public API. */
interface TcpHandle {
  readonly bytesWritten: number
  reset?: (done: () => void) => number
}

type Internals = Socket & { resetAndClosing?: boolean; _handle: TcpHandle | null; _bytesDispatched: number }

const ignore = (): void => undefined

/**
 * Ends a TCP connection at once, by reset and never by FIN.
 *
 * A destroyed socket whose bytes the kernel still holds delivers them when the network heals, and an old write lands on
 * top of a newer one. A reset purges the kernel's queue. The flag before `destroy(error)`, and not
 * `resetAndDestroy()`, because the driver's pending calls must reject with `error`.
 *
 * `socket` is the raw TCP socket, also under TLS: a `TLSSocket` has no reset of its own. The `TLSSocket` on top emits
 * `error` and may then emit a second one (ECANCELED), so its listener must not be a `once`. Safe to call in any state,
 * and more than once.
 * @internal
 */
export function cut(socket: Socket, error: Error): void {
  if (!socket.listeners('error').includes(ignore)) socket.on('error', ignore)
  if (socket.destroyed) return
  const internals = socket as Internals
  const handle = internals._handle
  const reset = handle?.reset?.bind(handle)
  // A socket that is still connecting has sent nothing, and resetting it would fail with EBADF.
  if (handle !== null && reset !== undefined && !socket.connecting) {
    if (mayBeShuttingDown(internals, handle)) {
      handle.reset = (done) => {
        setImmediate(() => setImmediate(() => reset(done)))
        return 0
      }
    }
    internals.resetAndClosing = true
  }
  socket.destroy(error)
}

/**
 * From `end()` until the event loop has sent the FIN, libuv refuses a reset and Node then leaves the socket open for
 * ever. Two turns later the FIN is sent. What TLS does to the socket shows only in bytes that the socket did not write.
 */
function mayBeShuttingDown(socket: Internals, handle: TcpHandle): boolean {
  const isUnderTls = handle.bytesWritten !== socket._bytesDispatched
  return isUnderTls || (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0)
}
