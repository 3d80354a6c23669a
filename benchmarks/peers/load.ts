/**
 * Loads a peer by name, as an object that has `member`.
 *
 * The peers are installed on demand, so that nothing but a run may depend on them, the type check neither. Where the
 * exports of a CommonJS package end up depends on who loads it.
 */
export async function load<T extends object>(name: string, member: keyof T & string): Promise<T> {
  const module = (await import(name)) as Module
  const found = [module, module.default, module.default?.default].find((each) => each?.[member] !== undefined)
  if (found === undefined) throw new Error(`${name} has no ${member}`)
  return found as unknown as T
}

interface Module {
  readonly default?: Module
  readonly [member: string]: unknown
}
