import { cut } from '../core/cut.js'
import { Ending } from '../core/ending.js'
import { ConnectionLostError, TimeoutError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { Channel } from './channel.js'
import type { DriverChannel, DriverConnection } from './driver.js'
import type { Host } from './hosts.js'

/**
 * One AMQP connection from its handshake to its end; never reused.
 *
 * Its end is declared here and not by amqplib, because amqplib stays silent in some of them (a connection that is being
 * closed and then cut). Channels end before the session's own listeners run.
 * @internal
 */
export class Session {
  readonly host: Host
  readonly since: number = Date.now()
  readonly ending: Ending<Error> = new Ending()
  readonly #driver: DriverConnection
  readonly #openTimeoutMs: number
  readonly #channels = new Set<Channel>()
  #control: Channel | undefined
  #blockedReason: string | undefined
  #detectedMs = 0
  #isGathering = false
  readonly #onBlocked = new Set<() => void>()

  constructor(host: Host, driver: DriverConnection, openTimeoutMs: number) {
    this.host = host
    this.#driver = driver
    this.#openTimeoutMs = openTimeoutMs
    this.ending.on((error) => this.#endChannels(error))
    this.#blockedReason = driver.isBlocked ? 'blocked' : undefined
    driver.on('error', (error) => this.#finish(new ConnectionLostError(host.name, error.message, { cause: error })))
    driver.on('close', (error) =>
      this.#finish(new ConnectionLostError(host.name, error?.message ?? 'closed', error && { cause: error })),
    )
    driver.on('blocked', (reason) => this.#setBlocked(reason))
    driver.on('unblocked', () => this.#setBlocked(undefined))
  }

  get isOpen(): boolean {
    return !this.ending.hasCome
  }

  /** Why the broker takes no messages from this connection, if so. */
  get blockedReason(): string | undefined {
    return this.#blockedReason
  }

  /** How long the server had been silent when the connection was cut for it; 0 for every other end. */
  get detectedMs(): number {
    return this.#detectedMs
  }

  /** Bytes received so far: the only sign of life that a frozen server cannot fake. */
  get bytesRead(): number {
    return this.#driver.traffic.bytesRead
  }

  /** Bytes that wait to be taken by the kernel. */
  get backlog(): number {
    return this.#driver.traffic.writableLength
  }

  /** Bytes that the kernel has taken. */
  get bytesAccepted(): number {
    const { bytesWritten, writableLength } = this.#driver.traffic
    return bytesWritten - writableLength
  }

  /** The channel that probes use; opened within the handshake, so that a session that is open can open channels. */
  async openControl(): Promise<void> {
    this.#control = await this.openChannel()
    this.#control.ending.on(({ error }) => this.cut(error))
  }

  /** `listener` runs whenever the broker stops or resumes taking messages. */
  onBlocked(listener: () => void): void {
    this.#onBlocked.add(listener)
  }

  async openChannel(): Promise<Channel> {
    return this.#open(() => this.#driver.createChannel())
  }

  async openConfirmChannel(): Promise<Channel> {
    return this.#open(() => this.#driver.createConfirmChannel())
  }

  /** The cheapest request that the broker answers. */
  async probe(): Promise<void> {
    await this.#control?.raw.prefetch(1)
  }

  /** Ends the connection now. Everything on it learns `error`. */
  cut(error: Error, detectedMs = 0): void {
    if (this.isOpen) this.#detectedMs = detectedMs
    this.#finish(error)
  }

  /** Closes politely, within what the caller waits for; then cuts. */
  async close(): Promise<void> {
    if (!this.isOpen) return
    await this.#driver.close().catch(() => undefined)
    this.cut(new ConnectionLostError(this.host.name, 'closed by us'))
  }

  async #open(create: () => Promise<DriverChannel>): Promise<Channel> {
    this.#assertOpen()
    const late = (elapsedMs: number): Error => new TimeoutError('connect', elapsedMs, `channel on ${this.host.name}`)
    const opening = create().then((raw) => new Channel(raw, this.host.name, () => this.#gather()))
    try {
      const channel = await waitWithin(opening, { timeoutMs: this.#openTimeoutMs }, late, (error) => this.cut(error))
      this.#adopt(channel)
      return channel
    } catch (error) {
      throw this.ending.value ?? error
    }
  }

  /**
   * Writes what is sent in this turn of the event loop at once: amqplib makes one system call of each frame, which cost
   * more than all the rest. It gathers up to the 16 KiB after which a socket says that it is full; what is beyond is
   * written as amqplib does. With all of it in one piece the broker stood idle for longer, and confirmed less.
   */
  #gather(): void {
    if (this.#isGathering) return
    this.#isGathering = true
    this.#driver.traffic.cork()
    // Behind the immediate in which amqplib writes, which it schedules in the next tick.
    process.nextTick(() =>
      setImmediate(() => {
        this.#isGathering = false
        this.#driver.traffic.uncork()
      }),
    )
  }

  #assertOpen(): void {
    if (this.ending.value !== undefined) throw this.ending.value
  }

  #adopt(channel: Channel): void {
    this.#channels.add(channel)
    channel.ending.on(() => this.#channels.delete(channel))
    const error = this.ending.value
    if (error !== undefined) channel.ending.come({ error, isRefusal: false })
  }

  #finish(error: Error): void {
    if (!this.ending.come(error)) return
    // Also after an orderly close: amqplib only half-closes, and a silent peer would keep the socket for minutes.
    cut(this.#driver.socket, error)
  }

  #endChannels(error: Error): void {
    for (const channel of this.#channels) channel.ending.come({ error, isRefusal: false })
  }

  #setBlocked(reason: string | undefined): void {
    if (reason === this.#blockedReason) return
    this.#blockedReason = reason
    for (const listener of this.#onBlocked) listener()
  }
}
