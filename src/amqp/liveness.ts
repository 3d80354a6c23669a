import { ConnectionLostError } from '../core/errors.js'
import { TimeLimit } from '../core/time-limit.js'
import { now } from '../core/timing.js'
import type { Session } from './session.js'

/** One connection as the watch sees it. @internal */
export interface Watched {
  readonly session: () => Session | undefined
  /** True while the broker owes an answer on it. */
  readonly isWaiting: (session: Session) => boolean
  /** The host answered a probe. */
  readonly onAnswered?: (session: Session) => void
}

/** How often the watch looks. @internal */
export const TICK_MS = 250
/** Silence for so long, while an answer is due, is suspicious. @internal */
export const STALL_MS = 1000
/** How long the host has to answer the question that follows. @internal */
export const PROBE_MS = 1000

/** What is counted for one session. */
interface Pulse {
  readonly session: Session
  bytesRead: number
  bytesAccepted: number
  /** When a byte was last seen to have come. */
  heardAt: number
  /** Ticks without a byte received. */
  silentTicks: number
  /** Ticks of silence while an answer was due, since the last probe. */
  unansweredTicks: number
  /** Ticks since the last probe, or the last byte. */
  unaskedTicks: number
  isProbing: boolean
}

/**
 * Finds hosts that accept everything and answer nothing, long before amqplib's heartbeat does (2 to 3 intervals).
 *
 * Silence is counted in ticks of our own timer and not by the clock: a stall of our event loop makes few ticks, and so
 * never looks like silence of the server. The question is asked on the *other* connection to the same host where there
 * is one, because flow control may stop a publishing connection for good reasons.
 * @internal
 */
export class Liveness {
  readonly #watched: readonly Watched[]
  readonly #heartbeatTicks: number
  readonly #pulses: (Pulse | undefined)[]
  readonly #limits = new Set<TimeLimit>()
  #timer: NodeJS.Timeout | undefined

  constructor(watched: readonly Watched[], heartbeatMs: number) {
    this.#watched = watched
    this.#pulses = watched.map(() => undefined)
    this.#heartbeatTicks = heartbeatMs === 0 ? Infinity : heartbeatMs / TICK_MS
  }

  start(): void {
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const limit of this.#limits) limit.clear()
    this.#limits.clear()
  }

  #tick(): void {
    this.#watched.forEach((watched, index) => {
      const { isWaiting, onAnswered } = watched
      const session = watched.session()
      if (session === undefined) this.#pulses[index] = undefined
      else this.#look(this.#pulse(index, session), isWaiting(session), onAnswered)
    })
  }

  #pulse(index: number, session: Session): Pulse {
    const known = this.#pulses[index]
    if (known?.session === session) return known
    const { bytesRead, bytesAccepted } = session
    const counts = { silentTicks: 0, unansweredTicks: 0, unaskedTicks: 0, isProbing: false }
    const pulse: Pulse = { session, bytesRead, bytesAccepted, heardAt: now(), ...counts }
    this.#pulses[index] = pulse
    return pulse
  }

  #look(pulse: Pulse, isWaiting: boolean, onAnswered?: (session: Session) => void): void {
    const { session } = pulse
    const hasRead = session.bytesRead !== pulse.bytesRead
    // A large message on its way counts as life, bytes that only fill a frozen server's buffers do not for long.
    const isSending = session.backlog > 0 && session.bytesAccepted !== pulse.bytesAccepted
    pulse.bytesRead = session.bytesRead
    pulse.bytesAccepted = session.bytesAccepted
    if (hasRead) pulse.heardAt = now()
    pulse.silentTicks = hasRead ? 0 : pulse.silentTicks + 1
    pulse.unaskedTicks = hasRead ? 0 : pulse.unaskedTicks + 1
    const isOwed = isWaiting && !hasRead && !isSending && session.blockedReason === undefined
    pulse.unansweredTicks = isOwed ? pulse.unansweredTicks + 1 : 0
    if (pulse.isProbing) return
    // The server sends a heartbeat at least every interval: this one connection is dead, whatever its host says.
    if (pulse.silentTicks >= 1.5 * this.#heartbeatTicks + STALL_MS / TICK_MS) cutSilent(session, pulse.heardAt)
    else if (pulse.unansweredTicks >= STALL_MS / TICK_MS || pulse.unaskedTicks >= this.#heartbeatTicks) {
      this.#probe(pulse, onAnswered)
    }
  }

  #probe(pulse: Pulse, onAnswered?: (session: Session) => void): void {
    const { session } = pulse
    const asked = this.#otherOn(session)
    if (asked === undefined) return
    pulse.isProbing = true
    const before = { own: session.bytesRead, asked: asked.bytesRead, accepted: asked.bytesAccepted }
    const done = (): void => {
      limit.clear()
      this.#limits.delete(limit)
      pulse.isProbing = false
      pulse.unansweredTicks = 0
      pulse.unaskedTicks = 0
    }
    const limit = new TimeLimit(PROBE_MS, () => {
      done()
      const isSending = asked.backlog > 0 && asked.bytesAccepted !== before.accepted
      if (session.bytesRead !== before.own || asked.bytesRead !== before.asked || isSending) return
      const silent = this.#sessions().filter((one) => one === session || one === asked)
      // The publishing one, which is the first, last of all: as soon as it has moved it sends requests whose replies come
      // by the other.
      for (const one of silent.reverse()) if (one !== undefined) cutSilent(one, pulse.heardAt)
    }).unref()
    this.#limits.add(limit)
    asked.probe().then(() => {
      done()
      onAnswered?.(session)
    }, done)
  }

  #sessions(): (Session | undefined)[] {
    return this.#watched.map((watched) => watched.session())
  }

  /** The connection to ask: the other one to that host, else this one unless the broker reads nothing from it. */
  #otherOn(session: Session): Session | undefined {
    const other = this.#sessions().find((one) => one !== undefined && one !== session && one.host === session.host)
    return [other, session].find((one) => one?.isOpen === true && one.blockedReason === undefined)
  }
}

function cutSilent(session: Session, heardAt: number): void {
  const silentMs = Math.round(now() - heardAt)
  session.cut(new ConnectionLostError(session.host.name, `no answer for ${silentMs} ms`), silentMs)
}
