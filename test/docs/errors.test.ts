import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { conditions } from '../../src/protocol/errors.js'

const root = new URL('../../', import.meta.url).pathname
const page = readFileSync(join(root, 'docs/errors.md'), 'utf8')

test('docs/errors.md has every condition, with its SQLSTATE and severity, and no other', () => {
  const rows = [...page.matchAll(/^\| `(.+?)` \| (\w{5}) \| (\w+) \| .*\|$/gm)].map(([, ...cells]) => cells.join(' | '))
  const expected = Object.values(conditions).map(([sqlstate, severity, text]) => `${text} | ${sqlstate} | ${severity}`)
  expect(rows.sort()).toEqual([...new Set(expected)].sort())
})

test('every condition is told somewhere', () => {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  const sources = files.filter((file) => file.endsWith('.ts') && !file.endsWith('protocol/errors.ts'))
  const code = sources.map((file) => readFileSync(join(root, 'src', file), 'utf8')).join('\n')
  expect(Object.keys(conditions).filter((name) => !code.includes(`'${name}'`))).toEqual([])
})
