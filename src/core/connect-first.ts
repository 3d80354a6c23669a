import { connect, type Socket } from 'node:net'
import { cut } from './cut.js'
import { errorText, toError } from './errors.js'
import { abortReason, onAbort } from './timing.js'

/** An address that is silent for so long is raced by the next one. */
const SILENCE_MS = 300
/** Node's default leaves a dead idle connection unnoticed for two hours. */
const KEEP_ALIVE_DELAY_MS = 10_000

/** Where and how {@link connectFirst} connects. @internal */
export interface ConnectOptions {
  /** At least one; tried in this order. */
  readonly addresses: readonly string[]
  readonly port: number
  readonly localAddress: string | undefined
  /** Told of each address that refused, or that was silent until the end. */
  readonly onFailed: (address: string) => void
}

/** A connected socket, and the address of {@link ConnectOptions} that it leads to. @internal */
export interface Connected {
  readonly socket: Socket
  readonly address: string
}

/**
 * Opens a TCP connection to the first address that accepts one; the others are dropped.
 *
 * The next address is tried as soon as one refuses, or after 300 ms of silence beside it. Rejects with the one error, or
 * with an `AggregateError` that names them all; `signal` bounds it. @internal
 */
export function connectFirst(options: ConnectOptions, signal: AbortSignal): Promise<Connected> {
  const { addresses, port, localAddress, onFailed } = options
  return new Promise((resolve, reject) => {
    const waiting = [...addresses]
    const running = new Map<string, Socket>()
    const errors: Error[] = []
    let timer: NodeJS.Timeout | undefined

    const finish = (reason: Error): void => {
      clearTimeout(timer)
      forget()
      const losers = [...running.values()]
      running.clear()
      for (const socket of losers) cut(socket, reason)
    }
    const won = (address: string, socket: Socket): void => {
      running.delete(address)
      finish(new Error(`${address} was faster`))
      resolve({ socket, address })
    }
    const failed = (address: string, error: Error): void => {
      running.delete(address)
      errors.push(error)
      onFailed(address)
      if (waiting.length > 0) next()
      else if (running.size === 0) {
        const all = together(errors)
        finish(all)
        reject(all)
      }
    }
    const next = (): void => {
      clearTimeout(timer)
      const address = waiting.shift()
      if (address === undefined) return
      if (waiting.length > 0) timer = setTimeout(next, SILENCE_MS)
      try {
        const socket = open(address, port, localAddress)
        running.set(address, socket)
        // Each outlives its race: what comes after it concerns nobody here, but must find a listener.
        socket.once('connect', () => (running.has(address) ? won(address, socket) : undefined))
        socket.on('error', (error) => (running.has(address) ? failed(address, error) : undefined))
      } catch (error) {
        failed(address, toError(error))
      }
    }

    if (signal.aborted) {
      reject(abortReason(signal))
      return
    }
    const forget = onAbort(signal, () => {
      const reason = abortReason(signal)
      for (const address of running.keys()) onFailed(address)
      finish(reason)
      reject(together([...errors, reason]))
    })
    next()
  })
}

function open(host: string, port: number, localAddress: string | undefined): Socket {
  return connect({
    host,
    port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_DELAY_MS,
    ...(localAddress === undefined ? {} : { localAddress }),
  })
}

function together(errors: readonly Error[]): Error {
  if (errors.length === 1) return errors[0] as Error
  return new AggregateError(errors, errors.map((error) => errorText(error)).join('; '))
}
