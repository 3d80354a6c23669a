import { InvalidOptionError } from '../../core/errors.js'

const VERSION = /^(\d+)\.(\d+)(?:\.(\d+))?$/

/** Throws unless `version` is `major.minor` or `major.minor.revision`. @internal */
export function checkVersion(option: string, version: unknown): void {
  if (version !== undefined && (typeof version !== 'string' || !VERSION.test(version))) {
    throw new InvalidOptionError(option, "must be a version such as '1.0'")
  }
}

/**
 * True if something of version `offered` serves what asks for `required`: same major version, and at least its minor
 * version and revision. Text that is no version is never served.
 * @internal
 */
export function isCompatible(offered: string, required: string): boolean {
  const [has, wants] = [parse(offered), parse(required)]
  if (has === undefined || wants === undefined || has.major !== wants.major) return false
  if (has.minor !== wants.minor) return has.minor > wants.minor
  return has.revision >= wants.revision
}

function parse(version: string): { major: number; minor: number; revision: number } | undefined {
  const match = VERSION.exec(version)
  if (match === null) return undefined
  return { major: Number(match[1]), minor: Number(match[2]), revision: Number(match[3] ?? 0) }
}
