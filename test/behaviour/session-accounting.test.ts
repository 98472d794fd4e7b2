// Clients that set, hold and undo session state at random on two servers: each must find its own state, and only that.

import { expect, test } from 'vitest'
import { startPooler, type TestPooler } from '../harness/pooler.js'
import { createDatabase } from '../harness/postgres.js'
import * as wire from '../harness/raw-client.js'

const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)

/** Mulberry32: the same numbers for the same seed. */
function random(start: number): (below: number) => number {
  let state = start
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const names = ['app.a', 'app.b', 'work_mem', 'search_path'] as const
const defaults = { 'app.a': '', 'app.b': '', work_mem: '4MB', search_path: '"$user", public' }

/** What a session holds that a ROLLBACK takes back. */
interface State {
  readonly settings: Record<string, string>
  readonly listens: boolean
  readonly temp: boolean
  readonly cursor: boolean
}

const fresh: State = { settings: defaults, listens: false, temp: false, cursor: false }

class Actor {
  state = fresh
  locks = 0
  /** Of the transaction it is in, the state to go back to. */
  before: State | undefined
  savepoint: State | undefined
  readonly id: number
  private readonly port: number
  private readonly next: (below: number) => number
  private readonly open: () => Promise<wire.RawClient>
  private client!: wire.RawClient
  private readonly done: string[] = []

  constructor(id: number, port: number, open: () => Promise<wire.RawClient>) {
    this.id = id
    this.port = port
    this.open = open
    this.next = random(seed * 100 + id)
  }

  async run(steps: number): Promise<void> {
    this.client = await this.open()
    for (let step = 0; step < steps; step++) {
      await this.step()
      if (this.next(3) === 0) await this.look()
    }
    await this.client.end()
  }

  private async step(): Promise<void> {
    const choice = this.next(25)
    if (choice < 7) return this.change()
    if (choice < 10) return this.hold()
    if (choice < 13) return this.letGo()
    switch (choice) {
      case 13:
      case 14:
        if (this.before !== undefined) return
        await this.ask('BEGIN')
        this.before = this.state
        return
      case 15:
        if (this.before === undefined) return
        await this.ask('COMMIT')
        this.before = this.savepoint = undefined
        return
      case 16:
        return this.rollBack()
      case 17:
        if (this.before === undefined) return
        await this.ask('SAVEPOINT s')
        this.savepoint = this.state
        return
      case 18:
        if (this.savepoint === undefined) return
        if (this.next(2) === 0) await this.ask('SELECT 1/0', /division by zero/)
        await this.ask('ROLLBACK TO s')
        this.state = this.savepoint
        return
      case 19:
        await this.ask('SELECT 1/0', /division by zero/)
        if (this.before !== undefined) await this.rollBack()
        return
      case 20:
        if (this.before !== undefined || this.next(3) > 0) return
        await this.ask('DISCARD ALL')
        this.state = fresh
        this.locks = 0
        return
      case 21:
        if (this.next(4) === 0) await this.leave()
        return
      case 22:
        return this.cancel()
      default:
        return this.pipeline()
    }
  }

  /** Hits a statement that changes nothing, or comes late and hits nothing. */
  private async cancel(): Promise<void> {
    this.done.push('(cancels)')
    const isIdle = this.before === undefined
    const cancelled = wire.cancel(this.port, this.client.key)
    const lines = await this.client.ask(
      wire.query(isIdle && this.next(2) === 0 ? 'BEGIN; RESET app.nosuch; ROLLBACK' : 'SELECT 1'),
    )
    await cancelled
    if (isIdle) await this.client.ask(wire.query('ROLLBACK'))
    else if (lines.includes('Z E')) await this.rollBack()
  }

  /** Several exchanges in one write. */
  private async pipeline(): Promise<void> {
    const values = Array.from({ length: 3 }, () => `${this.id}_${this.next(1000)}`)
    const messages = values.map((value, at) => {
      const text = `SET app.${'ab'[at % 2]} TO '${value}'`
      return at === 1 ? Buffer.concat([wire.extended(text), wire.sync]) : wire.query(text)
    })
    await this.check('(pipeline)', await this.client.send(...messages).answer(3), undefined)
    this.set('app.a', values[2]!)
    this.set('app.b', values[1]!)
  }

  private async change(): Promise<void> {
    const name = names[this.next(names.length)]!
    const value = name === 'work_mem' ? `${64 + this.next(900)}kB` : `it's ${this.id}_${this.next(1000)}`
    const quoted = `'${value.replaceAll("'", "''")}'`
    switch (this.next(7)) {
      case 0:
        await this.ask(`RESET ${name}`)
        this.set(name, defaults[name])
        return
      case 1:
        if (this.before !== undefined) return
        return this.ask(`BEGIN; SET LOCAL ${name} TO ${quoted}; COMMIT`)
      case 2:
        if (name === 'search_path') return
        await this.extended(`SELECT set_config('${name}', $1, false)`, [value])
        this.set(name, value)
        return
      case 3:
        await this.extended(`SET ${name} TO ${quoted}`)
        break
      case 4:
        await this.ask(
          `SET ${name} TO 'first'; SET ${name} TO ${quoted}`.replace(
            /'first'/,
            name === 'work_mem' ? "'64kB'" : "'first'",
          ),
        )
        break
      case 5:
        if (this.next(4) > 0) return
        await this.ask('RESET ALL')
        this.state = { ...this.state, settings: defaults }
        return
      default:
        await this.ask(`SET ${name} TO ${quoted}`)
    }
    this.set(name, name === 'search_path' ? `"${value}"` : value)
  }

  private set(name: string, value: string): void {
    this.state = { ...this.state, settings: { ...this.state.settings, [name]: value } }
  }

  private async hold(): Promise<void> {
    switch (this.next(4)) {
      case 0:
        await this.ask(`LISTEN c${this.id}`)
        this.state = { ...this.state, listens: true }
        return
      case 1:
        await this.ask(`SELECT pg_advisory_lock(${1000 + this.id})`)
        this.locks++
        return
      case 2:
        if (this.state.temp) return
        await this.ask(`CREATE TEMP TABLE t${this.id} (a int)`)
        this.state = { ...this.state, temp: true }
        return
      default:
        if (this.state.cursor) return
        await this.ask('DECLARE c CURSOR WITH HOLD FOR SELECT 1')
        this.state = { ...this.state, cursor: true }
    }
  }

  private async letGo(): Promise<void> {
    switch (this.next(4)) {
      case 0:
        await this.ask('UNLISTEN *')
        this.state = { ...this.state, listens: false }
        return
      case 1:
        if (this.locks === 0) return
        await this.extended(`SELECT pg_advisory_unlock(${1000 + this.id})`)
        this.locks--
        return
      case 2:
        if (!this.state.temp) return
        await this.ask(`DROP TABLE t${this.id}`)
        this.state = { ...this.state, temp: false }
        return
      default:
        if (!this.state.cursor) return
        await this.ask('CLOSE c')
        this.state = { ...this.state, cursor: false }
        // No ROLLBACK opens it again.
        if (this.before !== undefined) this.before = { ...this.before, cursor: false }
        if (this.savepoint !== undefined) this.savepoint = { ...this.savepoint, cursor: false }
    }
  }

  private async rollBack(): Promise<void> {
    if (this.before === undefined) return
    await this.ask('ROLLBACK')
    this.state = this.before
    this.before = this.savepoint = undefined
  }

  /** In whatever state it is; another client takes its place. */
  private async leave(): Promise<void> {
    this.done.push('(leaves)')
    if (this.next(2) === 0) this.client.vanish()
    else await this.client.end()
    this.state = fresh
    this.locks = 0
    this.before = this.savepoint = undefined
    this.client = await this.open()
  }

  /** Everything is as it should be. Channels and temporary tables tell nothing within a transaction. */
  private async look(): Promise<void> {
    const values = names.map((name) => `coalesce(current_setting('${name}', true), '')`)
    const held = `(SELECT count(*) FROM pg_catalog.pg_listening_channels()) || '/' ||
      (SELECT coalesce(string_agg(relname, ','), '-') FROM pg_catalog.pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r') || '/' ||
      (SELECT count(*) FROM pg_catalog.pg_cursors WHERE is_holdable) || '/' ||
      (SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())`
    const { settings, listens, temp, cursor } = this.state
    const expected = [
      ...names.map((name) => settings[name]),
      this.before === undefined
        ? `${Number(listens)}/${temp ? `t${this.id}` : '-'}/${Number(cursor)}/${Math.min(1, this.locks)}`
        : '',
    ]
    const text = `SELECT ${values.join(', ')}, ${this.before === undefined ? held : "''"}`
    const lines =
      this.next(2) === 0
        ? await this.client.ask(wire.query(text))
        : await this.client.ask(wire.extended(text), wire.sync)
    const row = lines.find((line) => line.startsWith('D '))
    expect(row ?? lines, `seed ${seed}, client ${this.id}:\n${this.done.slice(-30).join('\n')}`).toBe(
      `D ${expected.join('|')}`,
    )
  }

  private async ask(text: string, failure?: RegExp): Promise<void> {
    await this.check(text, await this.client.ask(wire.query(text)), failure)
  }

  private async extended(text: string, values: string[] = []): Promise<void> {
    const isNamed = this.next(3) === 0
    const name = isNamed ? `s${this.next(1_000_000)}` : ''
    const steps = isNamed
      ? [wire.parse(text, name), wire.sync, wire.bind(values, name), wire.execute(), wire.sync]
      : [wire.extended(text, values), wire.sync]
    await this.check(text, await this.client.send(...steps).answer(isNamed ? 2 : 1), undefined)
  }

  private async check(text: string, lines: readonly string[], failure: RegExp | undefined): Promise<void> {
    this.done.push(text)
    const error = lines.find((line) => line.startsWith('E '))
    const message = `seed ${seed}, client ${this.id}: ${text}\n${this.done.slice(-30).join('\n')}`
    if (failure === undefined) expect(error, message).toBeUndefined()
    else expect(error, message).toMatch(failure)
  }
}

async function play(pooler: TestPooler, database: string, actors: number, steps: number): Promise<void> {
  const open = () => pooler.raw({ database })
  await Promise.all(Array.from({ length: actors }, (_, id) => new Actor(id, pooler.port, open).run(steps)))
}

test.each([1, 2, 3])(`every client finds its own session on %i servers (SEED=${seed})`, async (servers) => {
  await using database = await createDatabase()
  await using pooler = await startPooler({ session_state: 'track', default_pool_size: servers })
  await play(pooler, database.name, 6, 150)
  await pooler.settles(async () =>
    (await pooler.show('pools')).every((row) => row.sv_active === 0 && row.sv_tested === 0),
  )
  expect(pooler.logged.filter((line) => line.startsWith('ERROR') || line.includes('could not set'))).toEqual([])
})
