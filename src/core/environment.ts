import { InvalidOptionError } from './errors.js'
import { VARIABLES, type EnvironmentVariable, type Service } from './variables.js'

/** Where variables are read from: `process.env` or a copy of it. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A value that came from the environment, with the variable's name for messages. @internal */
export interface EnvironmentValue {
  readonly variable: string
  readonly value: string | number | boolean | readonly string[]
}

/** `OS_<GROUP>__<OPTION>`, as oslo.config's environment driver forms it. @internal */
export function variableName(group: string, option: string): string {
  return `OS_${group}__${option}`.toUpperCase().replaceAll('-', '_')
}

/**
 * The values that the environment has for a service's options, by the option's name in code.
 *
 * `group` replaces the service's main section, as nova's `api_database` does for `database`. A variable whose option
 * `isGiven` in code is not looked at, so that a bad value in it harms nobody.
 * @internal
 */
export function readEnvironment(
  service: Service,
  environment: Environment,
  group?: string,
  isGiven: (code: string) => boolean = () => false,
): ReadonlyMap<string, EnvironmentValue> {
  const found = new Map<string, EnvironmentValue>()
  for (const variable of VARIABLES) {
    if (variable.service !== service || isGiven(variable.code)) continue
    const name = variableName(variable.main === true ? (group ?? variable.group) : variable.group, variable.option)
    const text = environment[name]
    if (text === undefined || text === '') continue
    found.set(variable.code, { variable: name, value: convert(name, unescape(name, text), variable.type) })
  }
  return found
}

/** oslo.config substitutes `$name`, so a literal dollar is written `$$` or `\$`. */
function unescape(name: string, text: string): string {
  return text.replaceAll(/\$\$|\\\$|\$/g, (token) => {
    if (token !== '$') return '$'
    throw new InvalidOptionError(name, "has a '$' that refers to another option, which is not supported: write '$$'")
  })
}

function convert(name: string, text: string, type: EnvironmentVariable['type']): EnvironmentValue['value'] {
  switch (type) {
    case 'string':
      return text
    case 'list':
      return text
        .split(',')
        .map((element) => element.trim())
        .filter((element) => element !== '')
    case 'boolean':
      return toBoolean(name, text.trim().toLowerCase())
    case 'integer':
      return toNumber(name, text, /^[+-]?\d+$/, 'a whole number')
    case 'seconds':
      return Math.round(toNumber(name, text, /^[+-]?(\d+\.?\d*|\.\d+)$/, 'a number of seconds') * 1000)
  }
}

function toNumber(name: string, text: string, pattern: RegExp, what: string): number {
  if (!pattern.test(text.trim())) throw new InvalidOptionError(name, `must be ${what}`)
  return Number(text)
}

function toBoolean(name: string, word: string): boolean {
  if (['true', '1', 'on', 'yes'].includes(word)) return true
  if (['false', '0', 'off', 'no'].includes(word)) return false
  throw new InvalidOptionError(name, 'must be true or false')
}
