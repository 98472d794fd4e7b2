import { expect, test } from 'vitest'
import { nearest, suggestion } from '../../src/config/nearest.js'

const names = ['host', 'port', 'pool_size', 'min_pool_size', 'listen_port']

test.each([
  ['hots', 'host'],
  ['HOST', 'host'],
  ['poolsize', 'pool_size'],
  ['pool_sizes', 'pool_size'],
  ['min_pool_sze', 'min_pool_size'],
  ['listenport', 'listen_port'],
])('%s was meant to be %s', (misspelt, name) => {
  expect(nearest(misspelt, names)).toBe(name)
})

test.each(['', 'x', 'user', 'dbname', 'x'.repeat(100_000)])('%.20s was meant to be none of them', (word) => {
  expect(nearest(word, names)).toBeUndefined()
  expect(suggestion(word, names)).toBe('')
})
