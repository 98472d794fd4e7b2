// What clients say, and what they hear, is the same through the pooler as from PostgreSQL itself.

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase, needs, postgres, type TestDatabase } from '../harness/postgres.js'
import { query as ask, RawClient } from '../harness/raw-client.js'
import { conversations, type Step, setUp, talk } from './conversations.js'

/** Lines, and what is in the table afterwards. */
interface Outcome {
  readonly lines: readonly string[]
  readonly table: readonly unknown[]
}

const user = 'trust_user'
let database: TestDatabase
let superuser: pg.Client

beforeAll(async () => {
  database = await createDatabase()
  superuser = new pg.Client({ ...postgres().primary, ...postgres().roles.postgres, database: database.name })
  await superuser.connect()
})

afterAll(async () => {
  await superuser.end()
  await database.drop()
})

async function hold(client: RawClient, steps: readonly Step[]): Promise<Outcome> {
  await superuser.query(setUp)
  return { lines: await talk(client, steps), table: (await superuser.query('select * from t')).rows }
}

const known = new Map<readonly Step[], Outcome>()

/** What PostgreSQL itself says. */
async function wordsOfPostgres(steps: readonly Step[]): Promise<Outcome> {
  let outcome = known.get(steps)
  if (outcome === undefined) {
    const login = { ...postgres().primary, parameters: { user, database: database.name } }
    await using itself = await RawClient.connect(login)
    outcome = await hold(itself, steps)
    known.set(steps, outcome)
  }
  return outcome
}

const modes: [mode: string, settings: Settings, conversations: readonly string[]][] = [
  ['transaction', {}, ['simple', 'extended', 'COPY', 'prepared']],
  ['transaction, two prepared statements kept', { max_prepared_statements: 2 }, ['prepared']],
  // Without names of our own, those of clients meet on the server: that is what the setting asks for.
  ['transaction, prepared statements off', { max_prepared_statements: 0 }, ['extended', 'COPY']],
  ['session', { pool_mode: 'session' }, ['simple', 'extended', 'COPY', 'prepared']],
]

describe.each(modes)('%s mode', (_mode, settings, kinds) => {
  let pooler: TestPooler
  beforeAll(async () => {
    pooler = await startPooler({ default_pool_size: 1, ...settings })
  })
  afterAll(() => pooler[Symbol.asyncDispose]())

  describe.each(kinds)('%s', (kind) => {
    test.for(Object.entries(conversations[kind]!))('%s', async ([name, steps], context) => {
      if (name.endsWith(' in the middle of it'))
        needs(14, 'what is no part of a COPY ends the connection there', context)
      const expected = await wordsOfPostgres(steps)
      const client = await pooler.raw({ user, database: database.name })
      expect(await hold(client, steps)).toEqual(expected)
      const isOver = expected.lines.at(-1)!.startsWith('E FATAL')
      expect(isOver ? await client.toTheEnd() : client.unread).toEqual([])
      expect(client.isBetweenMessages).toBe(true)

      // Its server is free again, and serves the next client from a clean start.
      if (settings.pool_mode === 'session') await client.end()
      const next = await pooler.raw({ user, database: database.name })
      expect(await next.ask(ask("select 'mine' as x"))).toEqual(['T x', 'D mine', 'C SELECT 1', 'Z I'])
      expect([...next.unread, ...client.unread]).toEqual([])
      await client.end()
      await next.end()
      await pooler.until('SHOW POOLS', (row) => row.database === database.name && row.sv_idle === 1)
      expect(pooler.logged.filter((line) => /ERROR|out of sync/.test(line))).toEqual([])
    })
  })
})
