/**
 * Makes benchmarks import the package as it is published, from dist/ and not from src/: what translates TypeScript while
 * it is loaded wraps every function to keep its name, which costs a third of a query.
 */
import { register, type ResolveHook } from 'node:module'
import { isMainThread } from 'node:worker_threads'

const SOURCE = new URL('../src/', import.meta.url).href
const PUBLISHED = new URL('../dist/', import.meta.url).href

// The file is loaded once more, in the thread of the hooks.
if (isMainThread) register(import.meta.url)

export const resolve: ResolveHook = async (specifier, context, nextResolve) => {
  const found = await nextResolve(specifier, context)
  if (!found.url.startsWith(SOURCE)) return found
  const url = PUBLISHED + found.url.slice(SOURCE.length).replace(/\.ts$/, '.js')
  return { ...found, url, format: 'module' }
}
