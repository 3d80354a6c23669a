import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { variableName } from '../src/core/environment.js'
import { VARIABLES, type Service } from '../src/core/variables.js'

const BEGIN = '<!-- environment:begin -->'
const END = '<!-- environment:end -->'

const CLIENTS: readonly (readonly [Service, string])[] = [
  ['mysql', 'MySQL'],
  ['amqp', 'AMQP'],
  ['memcached', 'memcached'],
]

/** The README's tables of environment variables, one per client. */
export function environmentTables(): string {
  return CLIENTS.map(([service, title]) => `**${title}**\n\n${tableOf(service)}`).join('\n\n')
}

/** `readme` with the text between its markers replaced; throws when a marker is missing. */
export function withTables(readme: string): string {
  const begin = readme.indexOf(BEGIN)
  const end = readme.indexOf(END)
  if (begin < 0 || end < begin) throw new Error(`README.md needs the markers ${BEGIN} and ${END}`)
  return `${readme.slice(0, begin + BEGIN.length)}\n\n${environmentTables()}\n\n${readme.slice(end)}`
}

/** Padded as prettier pads, so that formatting the README changes nothing. */
function tableOf(service: Service): string {
  const rows = VARIABLES.filter((variable) => variable.service === service).map(({ group, option, code, what }) => [
    `\`${variableName(group, option)}\``,
    `\`${code}\``,
    what.replaceAll('|', '\\|'),
  ])
  const header = ['variable', 'option in code', 'what it does']
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  return [line(header), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = new URL('../README.md', import.meta.url)
  const before = readFileSync(file, 'utf8')
  const after = withTables(before)
  if (process.argv.includes('--write')) {
    writeFileSync(file, after)
  } else if (before !== after) {
    process.stderr.write('README.md is out of date: run `npm run docs:readme`\n')
    process.exitCode = 1
  }
}
