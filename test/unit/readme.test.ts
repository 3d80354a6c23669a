import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { environmentTables, withTables } from '../../scripts/readme-table.js'
import { variableName } from '../../src/core/environment.js'
import { VARIABLES } from '../../src/core/variables.js'

describe("the README's table of environment variables", () => {
  test('is up to date; `npm run docs:readme` makes it so', () => {
    const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
    expect(readme).toBe(withTables(readme))
  })

  test('has a row for every variable', () => {
    const tables = environmentTables()
    for (const { group, option, code } of VARIABLES) {
      expect(tables).toMatch(new RegExp(`\\| \`${variableName(group, option)}\` +\\| \`${code}\` `))
    }
  })

  test('replaces what is between the markers only, and needs both of them', () => {
    const before = 'a\n<!-- environment:begin -->\nold\n<!-- environment:end -->\nz\n'
    const after = withTables(before)
    expect(after.startsWith('a\n<!-- environment:begin -->\n\n**MySQL**')).toBe(true)
    expect(after.endsWith('\n\n<!-- environment:end -->\nz\n')).toBe(true)
    expect(after).not.toContain('old')
    expect(withTables(after)).toBe(after)
    expect(() => withTables('no markers')).toThrow('environment:begin')
  })
})
