import { createHash } from 'node:crypto'
import { KeyError } from './errors.js'

/** memcached's own limit. */
export const MAX_KEY_BYTES = 250
/** Every key is looked at: this takes half the time of a loop. */
const PRINTABLE = /^[!-~]*$/

/** How keys get their names on the wire. @internal */
export interface KeyRules {
  readonly keyPrefix: string
  readonly longKeys: 'hash' | 'refuse'
}

/**
 * The key as the server sees it: 1 to 250 bytes of printable ASCII, prefix included.
 *
 * What does not fit (longer, or with a space, a control character or anything outside ASCII) becomes the prefix and
 * the 40 hexadecimal digits of its SHA-1, which without a prefix is oslo.cache's `sha1_mangle_key`; or it is refused
 * with a `KeyError`. An empty key is always refused, it is a mistake of the caller.
 * @internal
 */
export function wireKey(key: string, rules: KeyRules): string {
  if (typeof key !== 'string' || key === '') throw new KeyError('must be a string that is not empty')
  const full = rules.keyPrefix === '' ? key : rules.keyPrefix + key
  if (full.length <= MAX_KEY_BYTES && isPrintable(full)) return full
  if (rules.longKeys === 'refuse') {
    throw new KeyError(`of ${Buffer.byteLength(full)} bytes is over ${MAX_KEY_BYTES} bytes or not printable ASCII`)
  }
  return rules.keyPrefix + createHash('sha1').update(key).digest('hex')
}

/** True for printable ASCII without spaces. @internal */
export function isPrintable(text: string): boolean {
  return PRINTABLE.test(text)
}
