import { InvalidOptionError } from '../core/errors.js'
import { waitWithin } from '../core/time-limit.js'
import { abortReason } from '../core/timing.js'

/** A user name and a password. */
export interface Credentials {
  readonly username: string
  readonly password: string
}

/** Gives the credentials for one attempt to connect to `host` (`host:port`). */
export type CredentialsFunction = (host: string) => Credentials | Promise<Credentials>

/** Asks for the credentials of one attempt, which `signal` bounds. @internal */
export async function askCredentials(
  ask: CredentialsFunction,
  host: string,
  signal: AbortSignal,
): Promise<Credentials> {
  const asked = (async (): Promise<unknown> => ask(host))()
  const given = await waitWithin(asked, { signal }, () => abortReason(signal))
  const { username, password } = (given ?? {}) as Partial<Record<keyof Credentials, unknown>>
  if (typeof username !== 'string' || typeof password !== 'string') {
    throw new InvalidOptionError('credentials', 'must give an object with the strings username and password')
  }
  return { username, password }
}
