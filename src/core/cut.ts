import type { Socket } from 'node:net'

/** What Node's TCP handle can do beneath the public API. */
interface TcpHandle {
  reset?: (done: () => void) => number
  close: (done: () => void) => void
}

type Internals = Socket & { resetAndClosing?: boolean; _handle: TcpHandle | null }

const RESET_ATTEMPTS = 10

const ignore = (): void => undefined

/**
 * Ends a TCP connection at once, by reset and never by FIN.
 *
 * A destroyed socket whose bytes the kernel still holds delivers them when the network heals, and an old write lands on
 * top of a newer one. A reset purges the kernel's queue. The flag before `destroy(error)`, and not
 * `resetAndDestroy()`, because the driver's pending calls must reject with `error`.
 *
 * `socket` is the raw TCP socket, also under TLS: a `TLSSocket` has no reset of its own. The `TLSSocket` on top emits
 * `error` and may then emit a second error (ECANCELED), so its listener must not be a `once`. Safe to call in any
 * state, and more than once.
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
    handle.reset = (done) => {
      resetSoon(handle, reset, done, RESET_ATTEMPTS)
      return 0
    }
    internals.resetAndClosing = true
  }
  socket.destroy(error)
}

/** While the FIN of an `end()` is on its way to the kernel libuv refuses to reset; Node would leave the socket open. */
function resetSoon(handle: TcpHandle, reset: (done: () => void) => number, done: () => void, attempts: number): void {
  if (reset(done) === 0) return
  if (attempts === 0) handle.close(done)
  else setImmediate(() => resetSoon(handle, reset, done, attempts - 1))
}
