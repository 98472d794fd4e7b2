import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Setting, settingNames, settings } from '../../src/config/settings.js'

const page = readFileSync(new URL('../../docs/differences.md', import.meta.url), 'utf8')

/** The text from a heading to the next. */
const tableUnder = (heading: string): string => page.split(`${heading}\n`)[1]?.split('\n#')[0] ?? ''

test('docs/differences.md has every setting without effect, with the reason that the warning gives', () => {
  const rows = [...tableUnder('### Settings without effect').matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(
    ([, name, reason]) => [name, reason],
  )
  const expected = settingNames.flatMap((name) => {
    const { support }: Setting<unknown> = settings[name]
    return support.kind === 'full' ? [] : [[name, support.reason]]
  })
  expect(rows).toEqual(expected)
})

test('docs/differences.md has every setting that pgbouncer does not have', () => {
  const rows = [...tableUnder('### Settings of our own').matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(([, name]) => name)
  expect(rows).toEqual(settingNames.filter((name) => settings[name].meaning.includes('(Not in pgbouncer.)')))
})
