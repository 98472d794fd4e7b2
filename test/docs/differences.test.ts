import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Setting, settingNames, settings } from '../../src/config/settings.js'

const page = readFileSync(new URL('../../docs/differences.md', import.meta.url), 'utf8')

test('docs/differences.md has every setting without effect, with the reason that the warning gives', () => {
  const [, table = ''] = page.split('### Settings without effect\n')
  const rows = [...table.matchAll(/^\| `(\w+)` \| (.+) \|$/gm)].map(([, name, reason]) => [name, reason])
  const expected = settingNames.flatMap((name) => {
    const { support }: Setting<unknown> = settings[name]
    return support.kind === 'full' ? [] : [[name, support.reason]]
  })
  expect(rows).toEqual(expected)
})
