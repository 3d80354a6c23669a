import { CallbackFace } from './callback-face.js'
import { PoolConnection } from './connection.js'
import type { DriverConnection } from './driver.js'
import type { Lease } from './lease.js'
import { LeaseChannel } from './lease-channel.js'

/** Each connection has one face for as long as it lives: ORMs know it again by that. */
const faces = new WeakMap<DriverConnection, CallbackFace>()

/** A checkout as its borrower gets it. @internal */
export interface HandedOut {
  readonly connection: PoolConnection
  readonly face: CallbackFace
}

/** The callback face of a connection. @internal */
export function faceOf(connection: DriverConnection): CallbackFace {
  let face = faces.get(connection)
  if (face === undefined) {
    const made = new CallbackFace(connection)
    connection.onEnd = (error) => made.ended(error)
    face = made
    faces.set(connection, face)
  }
  return face
}

/** Gives a checkout its faces. @internal */
export function handOut(lease: Lease, onReleased: (face: CallbackFace) => void = () => undefined): HandedOut {
  const face = faceOf(lease.connection)
  const channel = new LeaseChannel(lease, () => {
    face.detach(channel)
    onReleased(face)
  })
  face.attach(channel)
  return { connection: new PoolConnection(channel, face), face }
}
