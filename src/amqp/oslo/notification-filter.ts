import { InvalidOptionError } from '../../core/errors.js'
import type { Notification } from './notification.js'

/** A pattern: a regular expression, or the text of one, which then has to fit from the beginning. */
export type Pattern = RegExp | string

/** Which notifications an endpoint wants: those that fit every pattern. */
export interface NotificationFilter {
  readonly publisherId?: Pattern
  readonly eventType?: Pattern
  /** Patterns by the names of fields. */
  readonly context?: Readonly<Record<string, Pattern>>
  readonly metadata?: Readonly<Record<string, Pattern>>
  readonly payload?: Readonly<Record<string, Pattern>>
}

/** Decides whether a notification is wanted. @internal */
export type NotificationTest = (notification: Notification) => boolean

const TEXTS = ['publisherId', 'eventType'] as const
const RECORDS = ['context', 'metadata', 'payload'] as const
const KNOWN: readonly string[] = [...TEXTS, ...RECORDS]

/** Makes a test of a filter; throws `InvalidOptionError` for one that cannot be. @internal */
export function compileFilter(filter: NotificationFilter | undefined): NotificationTest {
  if (filter === undefined) return () => true
  for (const name of Object.keys(filter))
    if (!KNOWN.includes(name)) throw new InvalidOptionError(`filter.${name}`, 'is unknown')
  const texts = TEXTS.flatMap((field) => {
    const pattern = filter[field]
    return pattern === undefined ? [] : [{ field, pattern: compile(`filter.${field}`, pattern) }]
  })
  const records = RECORDS.flatMap((field) =>
    Object.entries(filter[field] ?? {}).map(([key, pattern]) => ({
      field,
      key,
      pattern: compile(`filter.${field}.${key}`, pattern),
    })),
  )
  return (notification) =>
    texts.every(({ field, pattern }) => pattern.test(notification[field])) &&
    records.every(({ field, key, pattern }) => fits(notification[field], key, pattern))
}

function fits(record: unknown, key: string, pattern: RegExp): boolean {
  if (typeof record !== 'object' || record === null || !Object.hasOwn(record, key)) return false
  const value = (record as Record<string, unknown>)[key]
  return typeof value === 'string' && pattern.test(value)
}

function compile(option: string, pattern: Pattern): RegExp {
  try {
    // Without the flags that make `test` remember where it was.
    if (pattern instanceof RegExp) return new RegExp(pattern.source, pattern.flags.replaceAll(/[gy]/g, ''))
    return new RegExp(`^(?:${pattern})`)
  } catch (error) {
    throw Object.assign(new InvalidOptionError(option, 'is no regular expression'), { cause: error })
  }
}
