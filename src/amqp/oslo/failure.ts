import { toError } from '../../core/errors.js'
import { NoSuchMethodError, RemoteError, UnsupportedVersionError, type RemoteFailure } from './errors.js'
import { parseJson } from './json-parser.js'
import { writeJson } from './json-writer.js'

/** Where oslo.messaging defines what its dispatcher raises. @internal */
export const DISPATCHER_MODULE = 'oslo_messaging.rpc.dispatcher'

type RemoteErrorClass = new (failure: RemoteFailure) => RemoteError

const TYPED: ReadonlyMap<string, RemoteErrorClass> = new Map<string, RemoteErrorClass>([
  ['UnsupportedVersion', UnsupportedVersionError],
  ['NoSuchMethod', NoSuchMethodError],
])
const MODULE = 'node'

/** The text that the field `failure` of a reply holds. @internal */
export function writeFailure(thrown: unknown): string {
  const error = toError(thrown)
  const failure = error instanceof RemoteError ? error : describe(error)
  const fields = {
    class: failure.remoteClass,
    module: failure.remoteModule,
    message: failure.remoteMessage,
    tb: traceback(error, failure.remoteTraceback),
  }
  try {
    return writeJson({ ...fields, args: failure.args, kwargs: failure.kwargs })
  } catch {
    return writeJson({ ...fields, args: [failure.remoteMessage], kwargs: {} })
  }
}

/** The error that a caller gets for the field `failure` of a reply. Never throws. @internal */
export function readFailure(text: unknown): RemoteError {
  const fields = parseFields(text)
  const failure = {
    remoteClass: asText(fields['class'], 'UnknownFailure'),
    remoteModule: asText(fields['module'], ''),
    remoteMessage: asText(fields['message'], 'the server gave no message'),
    remoteTraceback: asList(fields['tb']).map((line) => asText(line, '')),
    args: asList(fields['args']),
    kwargs: asObject(fields['kwargs']),
  }
  const isTyped = failure.remoteModule === DISPATCHER_MODULE
  const Typed = (isTyped ? TYPED.get(failure.remoteClass) : undefined) ?? RemoteError
  return new Typed(failure)
}

function describe(error: Error): Required<RemoteFailure> {
  const { name, message } = error
  return {
    remoteClass: name,
    remoteModule: MODULE,
    remoteMessage: message,
    remoteTraceback: [],
    args: [message],
    kwargs: {},
  }
}

/** As Python has it: one element per line, each with its line end. */
function traceback(error: Error, remote: readonly string[]): readonly string[] {
  if (remote.length > 0) return remote
  return (error.stack ?? error.message).split('\n').map((line) => `${line}\n`)
}

function parseFields(text: unknown): Readonly<Record<string, unknown>> {
  if (typeof text !== 'string') return asObject(text)
  try {
    return asObject(parseJson(text).value)
  } catch {
    return { message: 'the server sent a failure that cannot be read' }
  }
}

function asText(value: unknown, fallback: string): string {
  return typeof value === 'string' ? value : fallback
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : []
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}
