import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { type ArgumentRule, verbs } from '../../src/admin/commands.js'
import { parameterNames } from '../../src/admin/show/parameters.js'
import { tables } from '../../src/admin/tables.js'
import { cancelOutcomes } from '../../src/cancel/cancel.js'
import { clientCloseTexts } from '../../src/client/close-reason.js'
import { conditions } from '../../src/protocol/errors.js'
import { serverCloseTexts } from '../../src/server/close-reason.js'

const page = await readFile(new URL('../../docs/admin.md', import.meta.url), 'utf8')

/** The sections of the page by heading. */
const sections = new Map(
  page
    .split(/^### /m)
    .slice(1)
    .map((section) => {
      const end = section.indexOf('\n')
      return [section.slice(0, end), section.slice(end).split(/^## /m)[0] ?? '']
    }),
)

/** `name type` of each row of the tables in a section, after those of the section it refers to. */
function columnsIn(heading: string): string[] {
  const section = sections.get(heading) ?? ''
  const other = /The columns of (SHOW \w+)/.exec(section)?.[1]
  const own = [...section.matchAll(/^\| (\w+) \| (text|int4|int8|numeric) \|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  )
  return [...(other === undefined ? [] : columnsIn(other)), ...own]
}

test.each(tables.map((table) => [table.name, table] as const))('the page has the columns of SHOW %s', (name, table) => {
  expect(columnsIn(`SHOW ${name}`)).toEqual(table.columns.map((column) => `${column.name} ${column.type.name}`))
})

const argument: Record<ArgumentRule, string> = {
  none: '',
  database: ' db',
  'database?': ' [db]',
  id: ' id',
  'shutdown mode': ' [mode]',
  host: ' host',
}

test('the page has every command with its argument, and none that is not', () => {
  const commands = verbs.map((verb) => `${verb.name}${argument[verb.argument]}${verb.takesSeconds ? ' [seconds]' : ''}`)
  const shows = tables.map((table) => `SHOW ${table.name}`)
  expect([...sections.keys()].sort()).toEqual(
    [...commands, ...shows, 'SHOW what', 'SELECT what', 'SET key = value', 'SHOW HELP', 'SHOW FDS'].sort(),
  )
})

test('the page has the parameters that are shown and set in appearance only', () => {
  const list = /PostgreSQL's parameters: ([^.]*)\./.exec(page)?.[1] ?? ''
  expect([...list.matchAll(/`(\w+)`/g)].map(([, name]) => name)).toEqual(parameterNames)
})

test('the page has the texts of commands that fail', () => {
  const text = page.replace(/\s+/g, ' ')
  const failures = verbs.flatMap(({ failure }) => failure?.text ?? [])
  expect(failures).not.toEqual([])
  for (const failure of [...failures, 'SET failed', 'admin access needed', 'a database is required']) {
    expect(text).toContain(failure)
  }
})

test('the page has every reason for a close, with its text in the log', () => {
  const rows = [...(sections.get('SHOW CLOSES') ?? '').matchAll(/^\| `(\w+)` \| (.*?) \| .+ \|$/gm)]
  const texts = [serverCloseTexts, clientCloseTexts, cancelOutcomes].flatMap((table) => Object.entries(table))
  expect(rows.map(([, name, text]) => [name, text])).toEqual(
    texts.map(([name, text]) => [name, text.replace('%s', '…')]),
  )
})

test('a name that is both a reason for servers and an error for clients has one text', () => {
  const both = Object.entries(serverCloseTexts).filter(([name]) => name in conditions)
  expect(both.map(([name]) => name)).toContain('database_removed')
  for (const [name, text] of both) expect(conditions[name as keyof typeof conditions][2]).toBe(text)
})
