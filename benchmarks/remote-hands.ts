import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Hands } from '../test/harness/index.js'

/** What is asked for. */
export interface Request {
  readonly id: number
  readonly name: keyof Hands
  readonly args: readonly unknown[]
}

/** What came of it. */
export interface Answer {
  readonly id: number
  readonly value?: unknown
  readonly problem?: string
}

const PROCESS = fileURLToPath(new URL('hands-process.ts', import.meta.url))

interface Waiting {
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
}

/** {@link Hands} in a process of their own, so that breaking a node does not hold up the client that is measured. */
export class RemoteHands implements Hands {
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, Waiting>()
  #asked = 0

  readonly inject: Hands['inject'] = (...args) => this.#ask('inject', args)
  readonly heal: Hands['heal'] = (...args) => this.#ask('heal', args)
  readonly isOn: Hands['isOn'] = (...args) => this.#ask('isOn', args)
  readonly probe: Hands['probe'] = (...args) => this.#ask('probe', args)
  readonly connections: Hands['connections'] = (...args) => this.#ask('connections', args)
  readonly whole: Hands['whole'] = (...args) => this.#ask('whole', args)

  constructor() {
    this.#process = fork(PROCESS)
    this.#process.on('message', ({ id, value, problem }: Answer) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (problem === undefined) waiting?.resolve(value as never)
      else waiting?.reject(new Error(problem))
    })
    this.#process.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`hands ended with ${signal ?? String(code)}`))
      this.#waiting.clear()
    })
  }

  #ask<T>(name: keyof Hands, args: readonly unknown[]): Promise<T> {
    return new Promise((resolve, reject) => {
      const id = (this.#asked += 1)
      this.#waiting.set(id, { resolve, reject })
      this.#process.send({ id, name, args }, (error) => {
        if (error === null || !this.#waiting.delete(id)) return
        reject(error)
      })
    })
  }

  close(): void {
    if (this.#process.connected) this.#process.disconnect()
  }
}
