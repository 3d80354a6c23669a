import { node } from '../cluster/index.js'
import type { Connection } from './connections.js'
import { type Fault, type FaultName, FAULTS, type Target } from './fault.js'
import type { Hands } from './hands.js'
import type { NodeAnswer } from './node-probe.js'
import type { Evidence } from './result.js'
import type { Subject } from './subject.js'
import { sleep } from './timing.js'

const SYMPTOM_LIMIT_MS = 5000
/** Shorter than any client's time limit: after that nothing waits in the kernel any more, or should not. */
const QUEUE_LIMIT_MS = 150

/** Collects proof that a fault has hit the client's node, and hit it for as long as it was meant to. */
export class EvidenceCollector {
  readonly #subject: Subject
  readonly #name: FaultName
  readonly #fault: Fault
  readonly #target: Target
  readonly #hands: Hands
  readonly #doubts: string[] = []
  readonly #notes: string[] = []
  #before: readonly Connection[] = []

  constructor(subject: Subject, name: FaultName, target: Target, hands: Hands) {
    this.#subject = subject
    this.#name = name
    this.#fault = FAULTS[name]
    this.#target = target
    this.#hands = hands
  }

  /** Before the fault: the client is connected to the node. */
  async before(): Promise<void> {
    this.#before = await this.#connections()
    const count = this.#before.length
    this.#expect(count > 0, `client had ${count} connections to the node`)
  }

  /** Right after the fault was injected: the node shows its symptom. */
  async after(): Promise<void> {
    if (this.#fault.queues === true) await this.#lookForQueue()
    const deadline = performance.now() + SYMPTOM_LIMIT_MS
    let answer = await this.#probe()
    while (answer !== this.#fault.symptom && performance.now() < deadline) {
      await sleep(20)
      answer = await this.#probe()
    }
    await this.#expectSymptom(answer, 'after the fault')
  }

  /** When the fault is about to be healed, or the run to end. */
  async atEnd(): Promise<void> {
    await this.#expectSymptom(await this.#probe(), 'at its end')
    const ports = new Set(this.#before.map(({ localPort }) => localPort))
    const left = (await this.#connections()).filter(({ localPort }) => ports.has(localPort)).length
    const text = `${left} of these connections are left`
    if (this.#fault.cutsConnections === true) this.#expect(left === 0, text)
    else this.#notes.push(text)
    this.#notes.push(`${(await this.#connections()).length} connections to the node now`)
    const inUse = this.#subject.inUse?.()
    if (inUse !== undefined) this.#notes.push(`client says it uses ${inUse}`)
  }

  get evidence(): Evidence {
    return { hasBitten: this.#doubts.length === 0, notes: [...this.#doubts, ...this.#notes] }
  }

  #probe(): Promise<NodeAnswer> {
    return this.#hands.probe(this.#target)
  }

  /** What was written into the silence waits in the kernel, and would be delivered when it ends. */
  async #lookForQueue(): Promise<void> {
    const deadline = performance.now() + QUEUE_LIMIT_MS
    let bytes = 0
    while (bytes === 0 && performance.now() < deadline) {
      bytes = (await this.#connections()).reduce((sum, { unsentBytes }) => sum + unsentBytes, 0)
    }
    const text = `${bytes} bytes to the node were queued in the kernel`
    // Who publishes waits for confirmations, and writes nothing more.
    if (this.#target.kind === 'rabbit') this.#notes.push(text)
    else this.#expect(bytes > 0, text)
  }

  async #expectSymptom(answer: NodeAnswer, when: string): Promise<void> {
    this.#expect(answer === this.#fault.symptom, `node ${when}: ${answer}`)
    const isOn = await this.#hands.isOn(this.#name, this.#target)
    if (isOn !== undefined) this.#expect(isOn, `node ${when}: fault is ${isOn ? 'on' : 'off'}`)
  }

  async #connections(): Promise<readonly Connection[]> {
    const { host, port } = node(this.#target.kind, this.#target.n)
    const all = await this.#hands.connections(this.#subject.pids?.() ?? [process.pid])
    return all.filter(({ remote }) => remote === `${host}:${port}`)
  }

  #expect(isSo: boolean, text: string): void {
    if (isSo) this.#notes.push(text)
    else this.#doubts.push(`DOUBT: ${text}`)
  }
}
