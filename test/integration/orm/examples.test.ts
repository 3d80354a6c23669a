import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nodes, whole } from '../../cluster/index.js'
import { adminSql, SQL_ACCOUNT } from '../../harness/index.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const examples = readdirSync(`${root}examples/orm`)
  .map((file) => file.replace(/\.ts$/, ''))
  .toSorted()
const hosts = nodes('galera').map(({ host }) => host)
const { user, password, database } = SQL_ACCOUNT

const drop = (): Promise<unknown> =>
  adminSql(1, `DROP TABLE IF EXISTS ${examples.map((name) => `${database}.${name}_quota`).join()}`)
beforeAll(async () => {
  await whole('galera')
  await drop()
})
afterAll(drop)

test('there is one for each ORM', () => {
  expect(examples).toEqual(['drizzle', 'knex', 'kysely', 'sequelize', 'typeorm'])
})

test.each(examples)('%s', async (name) => {
  const url = `mysql://${user}:${password}@${hosts.join()}/${database}`
  const child = spawn(process.execPath, ['--import', 'tsx', `examples/orm/${name}.ts`], {
    cwd: root,
    env: { ...process.env, OS_DATABASE__CONNECTION: url },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exit = new Promise((resolve) => child.on('close', resolve))
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  expect({ exit: await exit, err }).toEqual({ exit: 0, err: '' })
  expect(out).toMatch(new RegExp(`^${name}: 9 left, written to 127\\.0\\.1\\.\\d:3306\n$`))
})
