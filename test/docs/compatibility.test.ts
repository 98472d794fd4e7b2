// docs/pgbouncer-compatibility.md: everything that pgbouncer has, how it fares here, and the test that shows it.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { verbs } from '../../src/admin/commands.js'
import { tables } from '../../src/admin/tables.js'
import { databaseKeys } from '../../src/config/databases.js'
import { peerKeys } from '../../src/config/peers.js'
import { type Setting, settingNames, settings } from '../../src/config/settings.js'
import { userKeys } from '../../src/config/users.js'
import type { Difference } from '../compat/differences/difference.js'
import { differences } from '../compat/differences.js'
import { files } from '../compat/files.js'
import {
  commandVerdicts,
  databaseVerdicts,
  type Item,
  otherVerdicts,
  peerVerdicts,
  settingVerdicts,
  showVerdicts,
  userVerdicts,
} from './compatibility-verdicts.js'

const root = new URL('../../', import.meta.url).pathname
const page = join(root, 'docs/pgbouncer-compatibility.md')
const table: Readonly<Record<string, Setting<unknown>>> = settings

/** A setting without effect says itself why. */
const noteOf = (name: string, { note }: Item): string => {
  const support = table[name]?.support
  if (note !== '' || support === undefined || support.kind === 'full') return note
  return `No effect: ${support.reason}.`
}

const groups = [
  ['Settings of `[pgbouncer]`', settingVerdicts, settingNames],
  ['Keys of `[databases]`', databaseVerdicts, Object.keys(databaseKeys)],
  ['Keys of `[users]`', userVerdicts, Object.keys(userKeys)],
  ['Keys of `[peers]`', peerVerdicts, Object.keys(peerKeys)],
  ['SHOW', showVerdicts, [...tables.map(({ name }) => name), 'FDS', 'HELP', "PostgreSQL's parameters"]],
  ['Commands', commandVerdicts, ['SHOW', 'SELECT', 'SET', ...verbs.map(({ name }) => name)]],
] as const satisfies readonly (readonly [string, Readonly<Record<string, Item>>, readonly string[]])[]

const everything = [
  ...groups.map(([title, items]) => [title, items] as const),
  ['Everything else', otherVerdicts] as const,
]

function render(): string {
  const all = everything.flatMap(([, items]) => Object.values(items))
  const count = (verdict: string): string => `${all.filter((one) => one.verdict === verdict).length} ${verdict}`
  const verdicts = ['same', 'better', 'differs', 'absent', 'own'].map(count).join(', ')
  const refused = Object.entries(files).filter(([, { ours }]) => ours !== undefined)
  return `# Compatibility with pgbouncer

Everything that pgbouncer has, by name, and how it fares here; the measure is pgbouncer 1.26. What
differs, and why, is told at more length in [differences](differences.md). This page is written from the tables of settings, SHOW and
commands in \`src/\` and the verdicts in \`test/docs/compatibility-verdicts.ts\`:
\`UPDATE_DOCS=1 npx vitest run test/docs/compatibility.test.ts\` does it again, and a test holds it to them.

**same**: as pgbouncer. **better**: does what pgbouncer does, and more, or without one of its faults. **differs**: does something
else, on purpose. **absent**: is not done; a value that asks for it gives a warning or an error, never silence. **own**: is not in
pgbouncer. The last column is the test that shows it.

In all: ${verdicts}.

${everything.map(([title, items]) => renderGroup(title, items)).join('\n')}
## Side by side

\`npm run test:compat\` plays the same scenes to a pgbouncer and to tsbouncer: configuration, logins, queries, console,
signals, messages and log. It takes the pgbouncer that \`PGBOUNCER_BIN\` names, or else the one in the \`PATH\`, and has been
run with 1.18, 1.24 and 1.26. The answers are equal but for the differences that follow, which are wanted; what is listed and
is not there any more fails the run, too. The lists are \`test/compat/differences/\` and \`test/compat/files.ts\`.

### Different from every version

${listOf(({ before, since }) => before === undefined && since === undefined)}
### Different from the latest only

${listOf(({ since, before }) => since !== undefined && before === undefined)}
### Different from older versions, which had not got it yet

${listOf(({ before }) => before !== undefined)}
### Files that end otherwise

| the file has | here |
|---|---|
${refused.map(([name, { ours }]) => `| ${name} | ${ours?.[0] === 'up' ? 'is taken' : `\`${ours?.at(-1)}\``} |\n`).join('')}
### Other programs

It runs other people's programs on the console, too, where their toolchains are installed: psycopg 3 and the Prometheus
exporter of PyPI, lib/pq with the queries of the Prometheus community's exporter, pgx, and psql with \`-c\`, \`\\watch\` and \`\\d\`.
`
}

/** Each reason once, with the versions that it holds for. */
function listOf(isWanted: (difference: Difference) => boolean): string {
  const lines = differences.filter(isWanted).map(({ why, before, since }) => {
    const versions = [since && `from ${since} on`, before && `before ${before}`].filter(Boolean).join(' and ')
    return `- ${why}${versions === '' ? '' : ` (${versions})`}\n`
  })
  return [...new Set(lines)].join('')
}

function renderGroup(title: string, items: Readonly<Record<string, Item>>): string {
  const rows = Object.entries(items).map(([name, one]) => {
    const tests = one.tests.map((file) => `[${file.replace('.test.ts', '')}](../test/${file})`).join(', ')
    const shown = /[ ,:]/.test(name) ? name : `\`${name}\``
    return `| ${shown} | ${one.verdict} | ${noteOf(name, one)} | ${tests} |\n`
  })
  return `## ${title}\n\n| name | verdict | notes | tests |\n|---|---|---|---|\n${rows.join('')}`
}

describe.each(groups)('%s', (_title, items, names) => {
  test('each has a verdict, and nothing else', () => {
    expect(Object.keys(items).sort()).toEqual([...names].sort())
  })

  test.each(Object.entries(items))('%s is named in one of its tests', (name, one: Item) => {
    const texts = one.tests.map((file) => readFileSync(join(root, 'test', file), 'utf8'))
    const named = new RegExp(`\\b${name}\\b`, 'i')
    expect(texts.some((text) => named.test(text) || name === "PostgreSQL's parameters")).toBe(true)
  })
})

test('the tests of everything else are there', () => {
  const files = Object.values(otherVerdicts).flatMap((one) => one.tests)
  expect(files.filter((file) => !existsSync(join(root, 'test', file)))).toEqual([])
})

test('what is not the same says why', () => {
  const silent = everything.flatMap(([, items]) =>
    Object.entries(items).filter(([name, one]) => !['same', 'own'].includes(one.verdict) && noteOf(name, one) === ''),
  )
  expect(silent).toEqual([])
})

test('settings without effect are absent, and those that pgbouncer does not have are our own', () => {
  const withVerdict = (verdict: string) => settingNames.filter((name) => settingVerdicts[name].verdict === verdict)
  expect(withVerdict('absent')).toEqual(settingNames.filter((name) => table[name]?.support.kind !== 'full'))
  expect(withVerdict('own')).toEqual(
    settingNames.filter((name) => table[name]?.meaning.includes('(Not in pgbouncer.)')),
  )
})

test('docs/pgbouncer-compatibility.md is up to date', () => {
  if (process.env.UPDATE_DOCS === '1') writeFileSync(page, render())
  expect(readFileSync(page, 'utf8')).toBe(render())
})
