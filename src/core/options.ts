import { LONGEST_TIMER_MS } from './time-limit.js'
import { readEnvironment, type Environment, type EnvironmentValue } from './environment.js'
import { InvalidOptionError } from './errors.js'
import type { Service } from './variables.js'

/** Options that every factory takes beside its own. */
export interface CommonOptions {
  /**
   * Where environment variables are read from; `{}` reads none.
   * @default process.env
   */
  env?: Environment
  /** Another configuration section than the service's own, such as nova's `api_database`. */
  group?: string
}

/** Bounds of a number option. @internal */
export interface Bounds {
  readonly min?: number
  readonly max?: number
}

/**
 * Reads the options of one factory call: what is given in code wins over the environment, which wins over defaults.
 *
 * Each getter validates one option and names it, or the variable it came from, when it cannot work. `done()` refuses
 * whatever nobody asked for, so the list of known options is written nowhere else.
 * @internal
 */
export class OptionReader {
  readonly #given: Readonly<Record<string, unknown>>
  readonly #environment: ReadonlyMap<string, EnvironmentValue>
  readonly #known = new Set<string>(['env', 'group'])

  constructor(service: Service, given: unknown) {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      throw new InvalidOptionError('options', 'must be an object')
    }
    const { env, group } = given as CommonOptions
    if (env !== undefined && (typeof env !== 'object' || (env as unknown) === null)) {
      throw new InvalidOptionError('env', 'must be an object of strings')
    }
    if (group !== undefined && (typeof group !== 'string' || !/^[\w-]+$/.test(group))) {
      throw new InvalidOptionError('group', 'must be a section name')
    }
    this.#given = given as Record<string, unknown>
    this.#environment = readEnvironment(service, env ?? process.env, group, (name) => this.isGiven(name))
  }

  /** The option's value, unchecked; `undefined` when neither code nor environment has one. */
  raw(name: string): unknown {
    this.#known.add(name)
    return this.#given[name] ?? this.#environment.get(name)?.value
  }

  /** True when the value was given in code. */
  isGiven(name: string): boolean {
    return (this.#given[name] ?? undefined) !== undefined
  }

  /** How messages name the option: the variable when the value came from there. */
  source(name: string): string {
    return this.isGiven(name) ? name : (this.#environment.get(name)?.variable ?? name)
  }

  /** An error about this option. */
  problem(name: string, problem: string): InvalidOptionError {
    return new InvalidOptionError(this.source(name), problem)
  }

  integer(name: string, fallback: number, { min = 0, max = Number.MAX_SAFE_INTEGER }: Bounds = {}): number {
    const value = this.raw(name) ?? fallback
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
      throw this.problem(name, `must be a whole number ${range}`)
    }
    return value as number
  }

  /** A duration in milliseconds. */
  duration(name: string, fallback: number, { min = 0, max = LONGEST_TIMER_MS }: Bounds = {}): number {
    const value = this.raw(name) ?? fallback
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      throw this.problem(name, `must be a number of milliseconds from ${min} to ${max}`)
    }
    return value
  }

  string(name: string): string | undefined
  string(name: string, fallback: string): string
  string(name: string, fallback?: string): string | undefined {
    const value = this.raw(name) ?? fallback
    if (value !== undefined && typeof value !== 'string') throw this.problem(name, 'must be a string')
    return value
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.raw(name) ?? fallback
    if (typeof value !== 'boolean') throw this.problem(name, 'must be true or false')
    return value
  }

  oneOf<const T extends string>(name: string, allowed: readonly T[], fallback: T): T {
    const value = this.raw(name) ?? fallback
    if (!allowed.includes(value as T)) {
      throw this.problem(name, `must be one of ${allowed.map((word) => `'${word}'`).join(', ')}`)
    }
    return value as T
  }

  /** A list of strings or objects; a single string counts as a comma-separated list. */
  list(name: string): readonly unknown[] | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const list: unknown = typeof value === 'string' ? value.split(',').filter((part) => part.trim() !== '') : value
    if (!Array.isArray(list)) throw this.problem(name, 'must be a list')
    return list as readonly unknown[]
  }

  /** Refuses options that no getter asked for. Call it last. */
  done(): void {
    for (const [name, value] of Object.entries(this.#given)) {
      if (value !== undefined && !this.#known.has(name)) throw new InvalidOptionError(name, 'is unknown')
    }
  }
}
