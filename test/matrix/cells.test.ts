import { expect, test } from 'vitest'
import { cellsOf } from './cells.js'
import { nodes, servers } from './programs.js'

const some = (node?: string, postgres?: string, part = '1/1'): string[] =>
  cellsOf({ node, postgres, all: false, part }).map((cell) => `${cell.node} ${cell.postgres}`)

test('each version is tested once with the other one’s end, and each with each where that is asked for', () => {
  expect(some().length).toBe(nodes.length + servers.length - 1)
  expect(some()).toContain('20 10')
  expect(some()).toContain('26 18')
  expect(cellsOf({ all: true, part: '1/1' }).length).toBe(nodes.length * servers.length)
})

test('versions that are named', () => {
  expect(some('20,26', '14,18')).toEqual(['20 14', '20 18', '26 14', '26 18'])
  expect(some('22')).toEqual(['22 18'])
})

test('the parts are all of it, and nothing twice', () => {
  const parts = [1, 2, 3].flatMap((part) => some(undefined, undefined, `${part}/3`))
  expect(parts.sort()).toEqual(some().sort())
})

test.each([
  ['21', undefined, '1/1'],
  ['20', '9', '1/1'],
  ['x', '18', '1/1'],
  [undefined, undefined, '0/2'],
  [undefined, undefined, '3/2'],
  [undefined, undefined, 'half'],
])('of Node.js %s, PostgreSQL %s, part %s there is nothing', (node, postgres, part) => {
  expect(some(node, postgres, part)).toEqual([])
})
