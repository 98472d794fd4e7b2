// server_check_delay = 0: a server is checked before each use, as after a long idle time otherwise.

import { expect, test } from 'vitest'
import { ManualClock } from '../harness/manual-clock.js'
import { startPooler } from '../harness/pooler.js'
import { endBackends, postgres } from '../harness/postgres.js'
import { query } from '../harness/raw-client.js'
import { Recorder } from '../harness/recorder.js'

test('server_check_delay = 0: each use is preceded by a check', async () => {
  await using recorder = await Recorder.start(postgres().primary)
  await using pooler = await startPooler(
    { server_check_delay: 0, server_check_query: "select 'check'", default_pool_size: 1 },
    { server: recorder },
  )
  const [one, other] = [await pooler.raw(), await pooler.raw()]
  await one.ask(query("select 'use'"))
  recorder.clear()
  for (let n = 0; n < 3; n++) await one.ask(query("select 'use'"))
  // Released, and taken by who waits.
  await one.ask(query("begin; select 'use'"))
  const waited = other.ask(query("select 'use'"))
  await pooler.until('SHOW POOLS', (row) => row.cl_waiting === 1)
  await one.ask(query('commit'))
  await waited
  const said = recorder.said.filter(({ by }) => by === 'pooler').map(({ bytes }) => bytes.toString('latin1'))
  expect(said.join('').match(/check|use/g)).toEqual(Array.from({ length: 5 }, () => ['check', 'use']).flat())
})

test('server_check_delay = 0: a client whose server has died is given another', async () => {
  await using pooler = await startPooler({ server_check_delay: 0, default_pool_size: 2 })
  const client = await pooler.raw()
  const [, pid] = await client.ask(query('select pg_backend_pid()'))
  await endBackends(`pid = ${pid!.slice(2)}`)
  const answer = await client.ask(query('select pg_backend_pid()'))
  expect(answer.at(-1)).toBe('Z I')
  expect(answer[1]).not.toBe(pid)
})

test('server_check_delay set to 0 holds for servers that are idle already', async () => {
  const clock = new ManualClock()
  await using recorder = await Recorder.start(postgres().primary)
  await using pooler = await startPooler({ server_check_query: "select 'check'" }, { server: recorder, clock })
  const client = await pooler.raw()
  await client.ask(query("select 'use'"))
  await using console = await pooler.connect({ database: 'pgbouncer' })
  await console.query('SET server_check_delay = 0')
  recorder.clear()
  await client.ask(query("select 'use'"))
  const said = recorder.said.filter(({ by }) => by === 'pooler').map(({ bytes }) => bytes.toString('latin1'))
  expect(said.join('').match(/check|use/g)).toEqual(['check', 'use'])
})
