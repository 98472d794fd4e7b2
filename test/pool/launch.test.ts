// What becomes of those who wait, and of those who come, when connecting to servers fails.

import { describe, expect, test } from 'vitest'
import { Launcher, type LaunchingPool } from '../../src/pool/launch.js'
import type { Borrower } from '../../src/pool/lease.js'
import type { Pool } from '../../src/pool/pool.js'
import { PoolQuery } from '../../src/pool/pool-query.js'
import { PgError } from '../../src/protocol/errors.js'
import { Heart } from '../harness/heart.js'
import { ManualClock } from '../harness/manual-clock.js'
import { query } from '../protocol/wire.js'

const said = new PgError({ sqlstate: '28P01', severity: 'FATAL', text: 'no entry' })

/** A connection has failed: a server has said so, or none has answered. */
function fail(heart: Heart, error?: PgError): void {
  const [pool] = [...heart.registry.pools()].filter(({ connecting }) => connecting.size > 0) as [Pool]
  const { database, user, context } = pool
  const host = database.hosts.next(database.config, user.name, context, () => 0)
  database.hosts.failed(database.config, host, undefined, undefined, context)
  pool.launcher.failed(error, 'connect failed')
  for (const session of [...pool.connecting].slice(0, 1)) session.close('connect_failed')
}

const remembered = (text: string): string => `server login has been failing, cached error: ${text} (server_login_retry)`

/** A query of the pooler's own, and what became of it. */
function ask(pool: Pool, isImpatient: boolean): string[] {
  const told: string[] = []
  new PoolQuery(pool, query('rows 1 a'), isImpatient, (answer) => told.push((answer as PgError).message)).begin()
  return told
}

describe('a server that refuses the login', () => {
  test('has who waits told so in its words, and who comes later in ours', async () => {
    const heart = await Heart.open()
    const arriving = await heart.arrive()
    fail(heart, said)
    expect([arriving.error, arriving.isOpen, heart.pool().size]).toEqual(['no entry', false, 0])
    expect((await heart.arrive()).error).toBe(remembered('no entry'))
    expect(heart.servers).toHaveLength(1)
  })

  test('has nobody told while another server is there', async () => {
    const heart = await Heart.open({ default_pool_size: 2 })
    const [one, two] = [await heart.connect(), await heart.connect()]
    one.send(query('begin'))
    two.send(query('rows 1 b'))
    fail(heart, said)
    expect([two.isOpen, two.served.isWaiting, heart.pool().launcher.refusal]).toEqual([true, true, undefined])
    one.send(query('commit'))
    heart.settle()
    expect(two.heard()).toContain('C SELECT 1|')
  })

  test('has nobody told while another host has not failed', async () => {
    const heart = await Heart.open({}, { databases: { rig: 'host=one,two' } })
    const client = await heart.arrive()
    fail(heart, said)
    expect([client.isOpen, heart.pool().launcher.pauseLeft]).toEqual([true, 0])
  })
})

describe('a server that does not answer', () => {
  test('has who waits wait on, but for the impatient', async () => {
    const heart = await Heart.open()
    heart.idle(1)
    const client = await heart.connect()
    const pool = heart.pool()
    pool.idle[0]!.close('server_lifetime')
    client.send(query('rows 1 a'))
    const [patient, impatient] = [ask(pool, false), ask(pool, true)]
    fail(heart)
    expect([client.isOpen, pool.waiting.size]).toEqual([true, 2])
    expect([patient, impatient]).toEqual([[], [remembered('connect failed')]])
  })

  test('has another tried when server_login_retry has passed, and who comes until then refused', async () => {
    const heart = await Heart.open({ server_login_retry: 15 })
    const waiting = await heart.arrive()
    fail(heart)
    heart.clock.advance(14.999)
    heart.pool().demand()
    expect([heart.servers.length, heart.pool().launcher.pauseLeft]).toEqual([1, 1])
    expect((await heart.arrive()).error).toBe(remembered('connect failed'))
    heart.clock.advance(0.001)
    expect(heart.pool().launcher.refusal).toBe(undefined)
    heart.pool().demand()
    expect(heart.servers).toHaveLength(2)
    heart.settle()
    expect([waiting.isOpen, heart.pool().launcher.failure]).toEqual([true, undefined])
  })

  test('has others tried one after the other, however many wait', async () => {
    const heart = await Heart.open({ default_pool_size: 5 })
    heart.idle(1)
    const clients = [await heart.connect(), await heart.connect(), await heart.connect()]
    const pool = heart.pool()
    pool.idle[0]!.close('server_lifetime')
    for (const client of clients) client.send(query('begin'))
    expect(pool.connecting.size).toBe(3)
    for (let times = 0; times < 3; times++) fail(heart)
    expect(pool.connecting.size).toBe(0)
    heart.clock.advance(15)
    pool.demand()
    expect(pool.connecting.size).toBe(1)
    heart.logIn(heart.servers.at(-1))
    expect([pool.active.size, pool.connecting.size]).toEqual([1, 2])
  })
})

test('who asks for a server while connecting has been failing is refused at once', async () => {
  const heart = await Heart.open()
  heart.idle(1)
  const client = await heart.connect()
  const pool = heart.pool()
  pool.idle[0]!.close('server_lifetime')
  heart.registry.connect(pool)
  fail(heart)
  client.send(query('rows 1 a'))
  expect([client.error, client.isOpen, pool.waiting.size]).toEqual([remembered('connect failed'), false, 0])
})

test('one server is opened for however many wait to be welcomed', async () => {
  const heart = await Heart.open({ default_pool_size: 5 })
  for (let count = 0; count < 3; count++) await heart.arrive()
  expect([heart.pool().arriving.size, heart.servers.length]).toEqual([3, 1])
  heart.settle()
  expect([heart.pool().arriving.size, heart.pool().clients.size]).toEqual([0, 3])
})

describe('hosts with roles', () => {
  /** A pool in which nine wait, and that opens what it may. */
  function launching(isThere = () => true) {
    const clock = new ManualClock()
    let opened = 0
    const connecting = new Set<number>()
    const pool = {
      context: { clock, config: { settings: { server_login_retry: 15, reserve_pool_timeout: 0 } } },
      database: { target: { hasAny: isThere } },
      user: { name: 'u' },
      limits: { poolSize: 20, reservePoolSize: 0 },
      isPaused: false,
      size: 0,
      counted: 0,
      waiting: new Set(Array.from({ length: 9 }, () => ({}))),
      arriving: new Set(),
      connecting,
      tested: new Set(),
      used: [],
      usual: { isKnown: true },
      reach: 'role',
      makeRoom: () => true,
      connect: () => void connecting.add(++opened),
    }
    const launcher = new Launcher(pool as unknown as LaunchingPool)
    const failAll = (): void => {
      for (const one of [...connecting]) {
        launcher.failedHost()
        connecting.delete(one)
      }
    }
    /** How long it is until it opens more, ms. */
    const pause = (): number => {
      const before = opened
      let ms = 0
      for (; opened === before && ms < 60_000; ms += 5) {
        clock.advance(0.005)
        launcher.demand()
      }
      return ms
    }
    return { launcher, connecting, failAll, pause, opened: () => opened }
  }

  test('eight connections at a time', () => {
    const { launcher, connecting } = launching()
    launcher.demand()
    expect(connecting.size).toBe(8)
  })

  test('none where no host fits', () => {
    const { launcher, connecting } = launching(() => false)
    launcher.demand()
    expect(connecting.size).toBe(0)
  })

  test('the pause after a failure doubles, however many failed together, up to server_login_retry', () => {
    const { launcher, failAll, pause } = launching()
    launcher.demand()
    const pauses = Array.from({ length: 11 }, () => {
      failAll()
      return pause()
    })
    expect(pauses).toEqual([50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000])
  })

  test('there is none after a success, nor where other hosts fit', () => {
    const { launcher, failAll, pause, opened } = launching()
    launcher.demand()
    for (let round = 0; round < 5; round++) {
      failAll()
      pause()
    }
    launcher.succeeded()
    failAll()
    expect(pause()).toBe(50)
    failAll()
    const before = opened()
    launcher.hostsChanged()
    launcher.demand()
    expect(opened()).toBe(before + 8)
    failAll()
    expect(pause()).toBe(50)
  })

  test('who does not want to wait is refused where no host fits', () => {
    const [there, away] = [launching(), launching(() => false)]
    const refusal = (rig: typeof there, isImpatient: boolean) =>
      rig.launcher.refusalOf({ isImpatient } as Borrower)?.message
    expect([refusal(there, true), refusal(away, false)]).toEqual([undefined, undefined])
    expect(refusal(away, true)).toBe(remembered('no host has the role that is wanted'))
  })
})
