import type { Socket } from 'node:net'

const ignore = (): void => undefined

/**
 * Ends a TCP connection at once, by reset and never by FIN.
 *
 * A destroyed socket whose bytes the kernel still holds delivers them when the network heals, and an old write lands on
 * top of a newer one. A reset purges the kernel's queue. The flag before `destroy(error)`, and not
 * `resetAndDestroy()`, because the driver's pending calls must reject with `error`.
 *
 * `socket` is the raw TCP socket, also under TLS: a `TLSSocket` has no reset of its own (Node throws and leaves the
 * connection open). Safe to call in any state, and more than once.
 * @internal
 */
export function cut(socket: Socket, error: Error): void {
  socket.on('error', ignore)
  if (socket.destroyed) return
  // A socket that is still connecting has sent nothing, and resetting it would fail with EBADF.
  if (!socket.connecting) (socket as Socket & { resetAndClosing?: boolean }).resetAndClosing = true
  socket.destroy(error)
}
