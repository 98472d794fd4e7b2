import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const docs = new URL('../../docs/', import.meta.url).pathname
const names = readdirSync(join(docs, 'decisions')).sort()

test.each(names)('%s has its number, its date, what else was thought of and what follows', (name) => {
  const text = readFileSync(join(docs, 'decisions', name), 'utf8')
  const number = Number(/^(\d{4})-[a-z0-9-]+\.md$/.exec(name)?.[1])
  expect(text).toMatch(new RegExp(`^# ${number}\\. \\S.*\\n\\n\\d{4}-\\d\\d-\\d\\d`))
  expect([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual([
    'Context',
    'Decision',
    'Alternatives',
    'Consequences',
  ])
})

test('ARCHITECTURE has all of them, in order, by their titles', () => {
  const list = readFileSync(join(docs, 'ARCHITECTURE.md'), 'utf8').split('## Decisions')[1]!
  const titles = names.map((name) =>
    readFileSync(join(docs, 'decisions', name), 'utf8')
      .split('\n', 1)[0]!
      .slice(2),
  )
  const linked = [...list.matchAll(/^(\d+\. )\[(.*?)\]\(decisions\/(.*?)\)/gm)]
  expect(linked.map(([, number, title]) => `${number}${title}`)).toEqual(titles)
  expect(linked.map(([, , , name]) => name)).toEqual(names)
})
