import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { PgError } from '../../src/protocol/errors.js'

test('a condition has severity, SQLSTATE and text', () => {
  const error = new PgError('no_such_database', 'sales')
  expect(error).toMatchObject({
    name: 'PgError',
    condition: 'no_such_database',
    severity: 'FATAL',
    sqlstate: '08P01',
    message: 'no such database: sales',
  })
})

test('a detail stands as it is, whatever is in it', () => {
  for (const detail of ['$&', '$1', '%s', "$'", '']) {
    expect(new PgError('no_such_database', detail).message).toBe(`no such database: ${detail}`)
  }
})

test('a server’s error is passed on', () => {
  expect(new PgError({ sqlstate: '42P01', severity: 'ERROR', text: 'relation "x" does not exist' })).toMatchObject({
    condition: 'passed_on',
    sqlstate: '42P01',
    severity: 'ERROR',
    message: 'relation "x" does not exist',
  })
})

test('conditions of the client’s own doing leave it connected', () => {
  expect(new PgError('query_canceled')).toMatchObject({ severity: 'ERROR', sqlstate: '57014' })
  expect(inspect(new PgError('auth_failed'))).toContain('password authentication failed')
})
