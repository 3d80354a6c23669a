import { fileURLToPath } from 'node:url'
import { ESLint } from 'eslint'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const eslint = new ESLint({ cwd: root })

/** The rules that `code` breaks as the file `path`, an existing one: type-aware rules need it in the project. */
async function broken(path: string, code: string): Promise<readonly (string | null)[]> {
  const [result] = await eslint.lintText(code, { filePath: `${root}/${path}` })
  return (result?.messages ?? []).map(({ ruleId, message }) => ruleId ?? message)
}

/** Where no file is there yet, type-aware rules are left out: the layers need no types. */
const layers = new ESLint({
  cwd: root,
  overrideConfig: { languageOptions: { parserOptions: { projectService: false, project: false } } },
  ruleFilter: ({ ruleId }) => ruleId === 'no-restricted-imports',
})

async function isRefused(path: string, imported: string): Promise<boolean> {
  const [result] = await layers.lintText(`import * as it from '${imported}'\nexport { it }\n`, {
    filePath: `${root}/${path}`,
  })
  const messages = result?.messages ?? []
  expect(messages.filter(({ ruleId }) => ruleId !== 'no-restricted-imports')).toEqual([])
  return messages.length > 0
}

// The first type-aware lint reads the whole project.
describe('npm run lint', { timeout: 180_000 }, () => {
  test('fails on a floating promise', async () => {
    const code = 'export function f(work: Promise<void>): void {\n  work\n}\n'
    expect(await broken('src/core/backoff.ts', code)).toContain('@typescript-eslint/no-floating-promises')
    expect(await broken('src/core/backoff.ts', code.replace('  work\n', '  void work\n'))).toEqual([])
  })

  test('fails on console output', async () => {
    const code = "export function f(): void {\n  console.log('x')\n}\n"
    expect(await broken('src/core/backoff.ts', code)).toEqual(['no-console'])
  })

  test.each([
    ['a service imports another service', 'src/mysql/pool.ts', '../amqp/x.js'],
    ['a service imports the entry of another service', 'src/amqp/index.ts', '../memcached/index.js'],
    ['a deeper file of a service imports another service', 'src/memcached/deep/x.ts', '../../mysql/pool.js'],
    ['core imports a service', 'src/core/client.ts', '../mysql/pool.js'],
    ['a file other than its owner imports mysql2', 'src/mysql/pool.ts', 'mysql2'],
    ['a file other than its owner imports a part of mysql2', 'src/mysql/pool.ts', 'mysql2/promise'],
    ['a file other than its owner imports amqplib', 'src/amqp/publisher.ts', 'amqplib'],
    ['a file other than its owner imports memjs', 'src/memcached/ketama.ts', 'memjs'],
    ['a file other than its owner imports hashring', 'src/memcached/memjs-driver.ts', 'hashring'],
    ['a file other than its owner imports generic-pool', 'src/mysql/driver.ts', 'generic-pool'],
    ['core imports a driver', 'src/core/client.ts', 'amqplib'],
    ['the index imports a driver', 'src/index.ts', 'amqplib'],
    ['the owner of a driver imports another service', 'src/mysql/driver.ts', '../amqp/x.js'],
  ])('fails when %s', async (_, path, imported) => {
    expect(await isRefused(path, imported)).toBe(true)
  })

  test.each([
    ['src/mysql/driver.ts', 'mysql2'],
    ['src/mysql/driver.ts', 'mysql2/promise'],
    ['src/mysql/node-pool.ts', 'generic-pool'],
    ['src/amqp/driver.ts', 'amqplib'],
    ['src/memcached/memjs-driver.ts', 'memjs'],
    ['src/memcached/ketama.ts', 'hashring'],
    ['src/mysql/pool.ts', '../core/client.js'],
    ['src/mysql/pool.ts', './mysql-status.js'],
    ['src/index.ts', './mysql/index.js'],
    ['src/core/client.ts', './lifecycle.js'],
  ])('lets %s import %s', async (path, imported) => {
    expect(await isRefused(path, imported)).toBe(false)
  })
})
