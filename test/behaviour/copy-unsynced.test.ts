// A COPY FROM STDIN that takes the Sync of its batch with it: PostgreSQL tells how it ended when it is asked, and the pooler asks.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, needs, postgres, type TestDatabase } from '../harness/postgres.js'
import {
  bind,
  close,
  copyData,
  copyDone,
  Ended,
  execute,
  extended,
  flush,
  parse,
  query,
  RawClient,
  sync,
  terminate,
} from '../harness/raw-client.js'

const user = 'trust_user'
let database: TestDatabase
let pooler: TestPooler

beforeAll(async () => {
  database = await createDatabase()
  await ask('create table t (n int); grant all on t to public', { database: database.name })
  pooler = await startPooler({ default_pool_size: 1 })
})
afterAll(async () => {
  await pooler[Symbol.asyncDispose]()
  await database.drop()
})

const copy = 'copy t from stdin'
const marker = query("select 'marker' as x")

/** All up to the marker's answer, or the end. */
async function answers(client: RawClient, bytes: readonly Buffer[]): Promise<string[]> {
  client.send(...bytes, marker)
  const lines: string[] = []
  try {
    while (lines.at(-3) !== 'D marker') lines.push(await client.line())
  } catch (error) {
    if (!(error instanceof Ended)) throw error
  }
  return lines
}

/** Not of what begins the COPY. */
const isBehind = (message: Buffer): boolean =>
  'cdQCP'.includes(message.toString('latin1', 0, 1)) && !message.includes(copy)

/** Prepared before, so that no text tells that it is a COPY. */
const prepared = [parse(copy, 'c'), sync]
const bound = [bind([], 'c'), execute(), sync]

const scenes: Readonly<Record<string, readonly [before: readonly Buffer[], bytes: readonly Buffer[]]>> = {
  'another statement': [[], [extended(copy), sync, copyDone, extended('select 1'), sync]],
  'a Close': [[], [parse(copy, 'n'), bind([], 'n'), execute(), sync, flush, copyDone, close('S', 'n'), sync]],
  'another Parse of its name, when its text has not been seen': [
    prepared,
    [...bound, copyDone, parse('select 3', 'c'), sync],
  ],
  'another Parse of its name within': [prepared, [...bound, parse('select 3', 'c'), sync]],
  'another Parse of its name within, behind a row': [
    prepared,
    [...bound, copyData('1\n'), parse('select 3', 'c'), sync],
  ],
  'a Query behind a row that is none': [[], [extended(copy), copyData('x\n'), query('select 4'), sync]],
  'a Query behind a row that is none, simple': [[], [query(copy), copyData('x\n'), query('select 5')]],
}

describe.each(Object.entries(scenes))('behind it stands %s', (what, [before, bytes]) => {
  beforeEach((context) => {
    if (what.includes(' within')) needs(14, 'what is no part of a COPY ends the connection there', context)
  })

  test.each(['in one write', 'when the COPY has begun'])('%s', { timeout: 20_000 }, async (when) => {
    const parameters = { user, database: database.name }
    await using itself = await RawClient.connect({ ...postgres().primary, parameters })
    await using client = await pooler.raw(parameters)
    const heard: string[][] = []
    for (const one of [itself, client]) {
      if (before.length > 0) await one.ask(...before)
      const lines: string[] = []
      let rest = bytes
      if (when !== 'in one write') {
        const first = bytes.findIndex(isBehind)
        one.send(...bytes.slice(0, first), flush)
        while (lines.at(-1) !== 'G') lines.push(await one.line())
        rest = bytes.slice(first)
      }
      heard.push([...lines, ...(await answers(one, rest))])
    }
    expect(heard[1]).toEqual(heard[0])
    await using other = await pooler.raw(parameters)
    expect(await other.ask(query('select 9'))).toEqual(['T ?column?', 'D 9', 'C SELECT 1', 'Z I'])
  })
})

/** The text of the COPY is not there, or does not show it: that there is one, the server says. */
const untold: Readonly<Record<string, readonly [before: readonly Buffer[], begin: readonly Buffer[]]>> = {
  'by Bind of a statement prepared before': [prepared, bound],
  'by Bind of the unnamed statement': [
    [parse(copy), sync],
    [bind(), execute(), sync],
  ],
  'by Bind, without a Sync before its data': [prepared, [bind([], 'c'), execute(), flush]],
  'by Query, behind comments in comments, with a Sync before its data': [[], [query(`/* /* */ */ ${copy}`), sync]],
}

describe.each([200, 0])('with max_prepared_statements = %i, a COPY that fails at its end', (limit) => {
  test.each(Object.entries(untold))('%s: what stands behind it is answered', async (_, [before, begin]) => {
    await using own = await startPooler({ default_pool_size: 1, max_prepared_statements: limit })
    const parameters = { user, database: database.name }
    await using itself = await RawClient.connect({ ...postgres().primary, parameters })
    await using client = await own.raw(parameters)
    const heard: string[][] = []
    for (const one of [itself, client]) {
      if (before.length > 0) await one.ask(...before)
      one.send(...begin)
      while ((await one.line()) !== 'G');
      // As tokio-postgres does, which closes a statement when it is done with it, whatever has become of that.
      heard.push(await answers(one, [copyData('x\n'), copyDone, sync, close('S', 'c'), sync]))
    }
    expect(heard[1]).toEqual(heard[0])
    expect(heard[1]).toContain('D marker')
  })
})

const leavings: Readonly<Record<string, (client: RawClient) => void>> = {
  Terminate: (client) => client.send(terminate),
  'the end of its side': (client) => client.stream.end(),
}

describe.each(Object.entries(leavings))('the client leaves behind it: %s', (_, leave) => {
  test.each([
    ['done', [], [extended(copy), sync, copyDone]],
    ['done, by Bind', prepared, [...bound, copyDone]],
    ['within', [], [extended(copy), sync]],
    ['within, by Bind, with what waits behind', prepared, [...bound, parse('select 3', 'c')]],
    ['with what waits behind', [], [extended(copy), sync, copyDone, extended('select 1')]],
  ])('%s', { timeout: 20_000 }, async (_what, before, bytes) => {
    const parameters = { user, database: database.name }
    const client = await pooler.raw(parameters)
    if (before.length > 0) await client.ask(...before)
    client.send(...bytes)
    leave(client)
    await client.ended
    await using other = await pooler.raw(parameters)
    expect(await other.ask(query('select 9'))).toEqual(['T ?column?', 'D 9', 'C SELECT 1', 'Z I'])
  })
})

test('the client closes its side within a message, behind a row that made the COPY fail', {
  timeout: 20_000,
}, async () => {
  const parameters = { user, database: database.name }
  const client = await pooler.raw(parameters)
  client.send(extended(copy), sync, sync, copyData('x\n'), copyData('1'.repeat(1000)).subarray(0, 500))
  client.stream.end()
  await client.ended
  await using other = await pooler.raw(parameters)
  expect(await other.ask(query('select 9'))).toEqual(['T ?column?', 'D 9', 'C SELECT 1', 'Z I'])
})
