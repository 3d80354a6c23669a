import { node } from '../cluster/index.js'
import { type Connection, connections } from './connections.js'
import type { Fault, Target } from './fault.js'
import { type NodeAnswer, probeNode } from './node-probe.js'
import type { Evidence } from './result.js'
import type { Subject } from './subject.js'
import { sleep } from './timing.js'

const SYMPTOM_LIMIT_MS = 5000

/** Collects proof that a fault has hit the client's node, and hit it for as long as it was meant to. */
export class EvidenceCollector {
  readonly #subject: Subject
  readonly #fault: Fault
  readonly #target: Target
  readonly #doubts: string[] = []
  readonly #notes: string[] = []
  #before: readonly Connection[] = []

  constructor(subject: Subject, fault: Fault, target: Target) {
    this.#subject = subject
    this.#fault = fault
    this.#target = target
  }

  /** Before the fault: the client is connected to the node. */
  before(): void {
    this.#before = this.#connections()
    const count = this.#before.length
    this.#expect(count > 0, `client had ${count} connections to the node`)
  }

  /** Right after the fault was injected: the node shows its symptom. */
  async after(): Promise<void> {
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
    const left = this.#connections().filter(({ localPort }) => ports.has(localPort)).length
    const text = `${left} of these connections are left`
    if (this.#fault.cutsConnections === true) this.#expect(left === 0, text)
    else this.#notes.push(text)
    this.#notes.push(`${this.#connections().length} connections to the node now`)
    const inUse = this.#subject.inUse?.()
    if (inUse !== undefined) this.#notes.push(`client says it uses ${inUse}`)
  }

  get evidence(): Evidence {
    return { hasBitten: this.#doubts.length === 0, notes: [...this.#doubts, ...this.#notes] }
  }

  #probe(): Promise<NodeAnswer> {
    return probeNode(this.#target.kind, this.#target.n, this.#target.from)
  }

  async #expectSymptom(answer: NodeAnswer, when: string): Promise<void> {
    this.#expect(answer === this.#fault.symptom, `node ${when}: ${answer}`)
    const isOn = await this.#fault.isOn?.(this.#target)
    if (isOn !== undefined) this.#expect(isOn, `node ${when}: fault is ${isOn ? 'on' : 'off'}`)
  }

  #connections(): readonly Connection[] {
    const { host, port } = node(this.#target.kind, this.#target.n)
    return connections(this.#subject.pids?.()).filter(({ remote }) => remote === `${host}:${port}`)
  }

  #expect(isSo: boolean, text: string): void {
    if (isSo) this.#notes.push(text)
    else this.#doubts.push(`DOUBT: ${text}`)
  }
}
