// A conversation with PostgreSQL is recorded on both sides of the pooler, and held again with every message cut at every
// byte, and with all of them joined: what reaches the other side is always the same.

import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FakeBackend } from '../harness/fake-backend.js'
import { type Settings, startPooler } from '../harness/pooler.js'
import { query as ask, createDatabase, postgres, type TestDatabase } from '../harness/postgres.js'
import { Random } from '../harness/random.js'
import { query, RawClient, startup } from '../harness/raw-client.js'
import { Recorder, type Said } from '../harness/recorder.js'
import { conversations, type Step, setUp, talk } from './conversations.js'

const user = 'trust_user'

/** Those whose messages are short, and in which nothing hangs on when an answer comes. */
const held: readonly [kind: string, name: string][] = [
  ['simple', 'several statements in one query'],
  ['simple', 'an error half way through several statements'],
  ['simple', 'a transaction that fails'],
  ['simple', 'notices and warnings'],
  ['simple', 'a function call'],
  ['simple', 'several queries in one write'],
  ['simple', 'parameters that are reported, for a transaction and for longer'],
  ['extended', 'message by message, with Flush'],
  ['extended', 'a portal, a few rows at a time'],
  ['extended', 'an error at Execute: the rest is skipped'],
  ['extended', 'many exchanges in one write, some of which fail'],
  ['extended', 'a transaction that fails, in one write'],
  ['COPY', 'out of the server'],
  ['COPY', 'into the server, in one write'],
  ['COPY', 'refused by the server while the client goes on'],
  ['COPY', 'Syncs in the middle of the data, which do not count'],
  ['prepared', 'a statement that is used again and again'],
  ['prepared', 'several statements, with the same text and with others'],
  ['prepared', 'a name that is taken'],
  ['prepared', 'a Close and a new Parse that are skipped leave the old statement'],
  ['prepared', 'many statements, more than are kept, with errors between'],
  ['prepared', 'Flush where nothing has been sent on yet'],
]

/** What the client says at a time, and then hears. */
interface Turn {
  readonly said: Buffer
  readonly heard: Buffer
}

interface Recording {
  readonly client: readonly Turn[]
  readonly server: readonly Said[]
}

let database: TestDatabase
beforeAll(async () => {
  database = await createDatabase()
  await ask(setUp, { database: database.name })
})
afterAll(() => database.drop())

/** A conversation that is held on one connection, one after the other, each with an empty table. */
const steps: readonly Step[] = held.flatMap(([kind, name]) => [
  [query('delete from t'), 1] as const,
  ...conversations[kind]![name]!,
  [query('deallocate all'), 1] as const,
])

async function record(settings: Settings): Promise<Recording> {
  await using recorder = await Recorder.start(postgres().primary)
  await using pooler = await startPooler(settings, { server: recorder })
  const client = await pooler.raw({ user, database: database.name })
  await client.ask(query('select 1')) // the server is there
  await talk(client, [[query('deallocate all'), 1]])
  recorder.clear()
  let heard: Buffer[] = []
  client.stream.on('data', (chunk: Buffer) => heard.push(Buffer.from(chunk)))
  const turns: Turn[] = []
  for (const step of steps) {
    await talk(client, [step])
    const said = Buffer.isBuffer(step[0]) ? step[0] : Buffer.concat([...step[0]])
    turns.push({ said, heard: Buffer.concat(heard) })
    heard = []
  }
  return { client: turns, server: recorder.said }
}

/** Where bytes are cut: positions in order. */
type Cuts = (bytes: Buffer) => readonly number[]

const whole: Cuts = () => []
const everywhere: Cuts = (bytes) => Array.from({ length: bytes.length - 1 }, (_, n) => n + 1)

/** Each message at this byte of it. */
const eachAt = (byte: number): Cuts => {
  return (bytes) => {
    const cuts: number[] = []
    for (let at = 0; at < bytes.length; ) {
      const end = at + 1 + bytes.readInt32BE(at + 1)
      if (at + byte < end && at + byte > 0) cuts.push(at + byte)
      at = end
    }
    return cuts
  }
}

/** From a seed. */
function anywhere(seed: number): Cuts {
  const random = new Random(seed)
  return (bytes) => everywhere(bytes).filter(() => random.chance(0.1))
}

/** Writes in pieces; the other side has read each before the next is sent. */
async function write(send: (piece: Buffer) => void, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  let from = 0
  for (const cut of [...cuts, bytes.length]) {
    send(bytes.subarray(from, cut))
    from = cut
    if (cut < bytes.length) {
      await turn()
      await turn()
    }
  }
}

async function replay(recording: Recording, settings: Settings, clientCuts: Cuts, serverCuts: Cuts): Promise<void> {
  let misheard: string | undefined
  await using server = await FakeBackend.start(async (connection) => {
    await connection.welcome()
    for (const { by, bytes } of recording.server) {
      if (by === 'server') {
        await write((piece) => connection.send(piece), bytes, serverCuts(bytes))
      } else {
        const said = await connection.take(bytes.length)
        if (!said.equals(bytes)) misheard ??= `the server should hear\n${show(bytes)}\nbut heard\n${show(said)}`
        if (misheard !== undefined) return
      }
    }
    await connection.ended
    if (connection.unread.length > 5) misheard ??= `the server heard more: ${show(connection.unread)}`
  })
  await using pooler = await startPooler(settings, { server })
  const client = await RawClient.open(pooler.port)
  client.stream.removeAllListeners('data') // bytes are compared here, not lines
  let heard: Buffer = Buffer.alloc(0)
  let wake = (): void => {}
  client.stream.on('data', (chunk: Buffer) => {
    heard = Buffer.concat([heard, chunk])
    wake()
  })
  const hear = async (size: number): Promise<Buffer> => {
    const patience = setTimeout(() => {
      misheard ??= `nothing more is heard after\n${show(heard)}`
      wake()
    }, 30_000)
    while (heard.length < size && misheard === undefined) await new Promise<void>((resolve) => (wake = resolve))
    clearTimeout(patience)
    const taken = heard.subarray(0, size)
    heard = heard.subarray(size)
    return taken
  }
  client.send(startup({ user, database: 'x' }))
  while (heard.at(-6) !== 0x5a) await new Promise<void>((resolve) => (wake = resolve))
  heard = Buffer.alloc(0)
  for (const { said, heard: expected } of recording.client) {
    const sent = write((piece) => client.send(piece), said, clientCuts(said))
    const answer = await hear(expected.length)
    await sent
    if (misheard === undefined && !answer.equals(expected)) {
      misheard = `the client said\n${show(said)}\nand should hear\n${show(expected)}\nbut heard\n${show(answer)}`
    }
    if (misheard !== undefined) throw new Error(misheard)
  }
  expect(show(heard)).toBe('')
  client.stream.destroy()
}

const show = (bytes: Buffer): string => bytes.toString('latin1').replaceAll(/[^ -~]/g, '·')

const longest = (recording: Recording): number => {
  const sizes = [...recording.client.map((one) => one.said), ...recording.server.map((one) => one.bytes)].flatMap(
    (bytes) => {
      const ends = eachAt(0)(bytes)
      return [...ends, bytes.length].map((end, n) => end - (ends[n - 1] ?? 0))
    },
  )
  return Math.max(...sizes)
}

describe('in transaction mode', () => {
  const settings = { default_pool_size: 1, max_prepared_statements: 3 } as const
  let recording: Recording
  beforeAll(async () => {
    recording = await record(settings)
  })

  test('nothing is cut', () => replay(recording, settings, whole, whole))

  test('every message of the client is cut, at every byte', async () => {
    for (let byte = 0; byte < longest(recording); byte++) await replay(recording, settings, eachAt(byte), whole)
  })

  test('every message of the server is cut, at every byte', async () => {
    for (let byte = 0; byte < longest(recording); byte++) await replay(recording, settings, whole, eachAt(byte))
  })

  test('all are cut, byte by byte', async () => {
    await replay(recording, settings, everywhere, whole)
    await replay(recording, settings, whole, everywhere)
    await replay(recording, settings, everywhere, everywhere)
  })

  test('they are cut anywhere', async () => {
    for (let round = 0; round < 10; round++) await replay(recording, settings, anywhere(round), anywhere(-round))
  })
})

test('in session mode, where no message is rewritten', async () => {
  const settings = { default_pool_size: 1, pool_mode: 'session' } as const
  const recording = await record(settings)
  await replay(recording, settings, whole, whole)
  await replay(recording, settings, everywhere, everywhere)
  for (let round = 0; round < 10; round++) await replay(recording, settings, anywhere(round), anywhere(-round))
})
