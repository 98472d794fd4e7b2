import fc from 'fast-check'
import { expect, test } from 'vitest'
import { consoleParameters } from '../../src/admin/console.js'
import { loadConfig } from '../../src/config/load.js'
import { AdminError } from '../../src/control/status.js'
import { ConsoleClient, settled } from './console-client.js'
import { FakeAdministration, socket } from './fake-administration.js'
import {
  bind,
  close,
  describe,
  execute,
  extended,
  type FrontendMessage,
  flush,
  linesOf,
  messagesOf,
  parse,
  query,
  sync,
  terminate,
} from './wire.js'

const canceled = 'E ERROR 57014 canceling statement due to user request'

test('at login the console reports the parameters of pgbouncer', () => {
  expect([...consoleParameters('PgBouncer 1.26.1 (tsbouncer 0.1.0)')]).toEqual([
    ['pgbouncer.version', '1.26.1'],
    ['server_version', '1.26.1/bouncer'],
    ['client_encoding', 'UTF8'],
    ['server_encoding', 'UTF8'],
    ['DateStyle', 'ISO'],
    ['TimeZone', 'GMT'],
    ['standard_conforming_strings', 'on'],
    ['is_superuser', 'on'],
  ])
})

test('what is sent during a PAUSE is answered after it', async () => {
  const client = new ConsoleClient('admin')
  expect(await client.ask(query('PAUSE'), query('SHOW STATE'), query('RESUME'))).toEqual([])
  expect(client.administration.calls).toEqual(['pause'])
  client.administration.finish()
  const lines = await client.ask()
  expect(lines.filter((line) => line.startsWith('C'))).toEqual(['C PAUSE', 'C SHOW', 'C RESUME'])
})

test.each([
  ['PAUSE', ['pause', 'pause aborted', 'resume']],
  ['PAUSE pg', ['pause pg', 'pause aborted', 'resume pg']],
  ['SUSPEND', ['suspend', 'suspend aborted', 'resume']],
  ['WAIT_CLOSE', ['waitClose', 'waitClose aborted']],
])('a cancelled %s is taken back', async (text, calls) => {
  const client = new ConsoleClient('admin')
  await client.query(text)
  client.console.cancel()
  expect(await client.ask()).toEqual([canceled, 'Z I'])
  expect(client.administration.calls).toEqual(calls)
  expect(await client.query('SHOW VERSION')).toContain('C SHOW')
})

test('a cancelled PAUSE that someone else has undone already is no error', async () => {
  const client = new ConsoleClient('admin')
  await client.query('PAUSE')
  client.administration.refusal = new AdminError('pooler is not paused/suspended')
  client.console.cancel()
  expect(await client.ask()).toEqual([canceled, 'Z I'])
})

test('a cancelled PAUSE by the extended protocol is an error until Sync', async () => {
  const client = new ConsoleClient('admin')
  await client.ask(...extended('PAUSE'))
  client.console.cancel()
  expect(await client.ask()).toEqual(['1', '2', 'n', canceled, 'Z I'])
})

test('a cancel without a command that waits does nothing', async () => {
  const client = new ConsoleClient('admin')
  client.console.cancel()
  client.send(query('RELOAD'))
  client.console.cancel()
  await settled()
  expect(linesOf(Buffer.concat(client.written))).toEqual(['C RELOAD', 'Z I'])
  expect(await client.query('SHOW VERSION')).toContain('C SHOW')
  expect(client.administration.calls).toEqual(['reload'])
})

test('a client that leaves ends the waiting; its PAUSE stays, as in pgbouncer', async () => {
  const client = new ConsoleClient('admin')
  await client.ask(query('PAUSE'), query('KILL'))
  client.console.close()
  expect(await client.ask()).toEqual([])
  expect(client.administration.calls).toEqual(['pause', 'pause aborted'])
})

test('Terminate during a PAUSE ends the connection at once', async () => {
  const client = new ConsoleClient('admin')
  expect(await client.ask(query('PAUSE'), terminate)).toEqual([])
  expect(client.ended).toBe(true)
  expect(client.administration.calls).toEqual(['pause', 'pause aborted'])
})

test('a SUSPEND ends when its client leaves, done or not', async () => {
  for (const done of [false, true]) {
    const client = new ConsoleClient('admin')
    await client.query('SUSPEND')
    if (done) client.administration.finish()
    expect(await client.ask()).toEqual(done ? ['C SUSPEND', 'Z I'] : [])
    client.console.close()
    await settled()
    expect(client.administration.calls.filter((call) => !call.includes('aborted'))).toEqual(['suspend', 'resume'])
  }
})

test('a SUSPEND that was resumed does not end a second time', async () => {
  const client = new ConsoleClient('admin')
  await client.query('SUSPEND')
  client.administration.finish()
  await client.ask(query('RESUME'))
  client.console.close()
  expect(client.administration.calls).toEqual(['suspend', 'resume'])
})

test('Terminate ends the connection, and nothing after it is done', async () => {
  const client = new ConsoleClient('admin')
  const lines = await client.ask(query('SHOW VERSION'), terminate, query('KILL'))
  expect(lines.slice(-2)).toEqual(['C SHOW', 'Z I'])
  expect(client.ended).toBe(true)
  expect(client.administration.calls).toEqual([])
})

test('who sends much while a command waits is paused, and resumed when it was answered', async () => {
  const client = new ConsoleClient('admin')
  await client.query('PAUSE')
  let sent = 0
  for (; !client.paused; sent++) client.send(query('SHOW VERSION'))
  expect(sent).toBeLessThan(2000)
  client.send(query('SHOW VERSION')) // it was read already
  client.administration.finish()
  const lines = await client.ask()
  expect(lines.filter((line) => line === 'C SHOW')).toHaveLength(sent + 1)
  expect(client.paused).toBe(false)
})

test('who does not heed the pause is cut off', async () => {
  const client = new ConsoleClient('admin')
  await client.query('PAUSE')
  const large = query(`SHOW "${'x'.repeat(100_000)}"`)
  for (let sent = 0; sent < 30 && !client.ended; sent++) client.send(large)
  expect(client.ended).toBe(true)
  expect(linesOf(Buffer.concat(client.written))).toEqual(['E FATAL 08P01 out of memory'])
})

test('a large answer is written in pieces, no faster than the client takes them', async () => {
  const administration = new FakeAdministration()
  administration.clientRows = Array.from({ length: 5000 }, (_, id) => ({ ...socket, id }))
  const client = new ConsoleClient('stats', administration)
  client.takes = false
  await client.ask(query('SHOW CLIENTS'), query('SHOW VERSION'))
  const sizes: number[] = []
  for (let before = 0; client.written.length > before; ) {
    before = client.written.length
    sizes.push(client.written.at(-1)!.length)
    client.console.drained()
    await settled()
  }
  expect(sizes.length).toBeGreaterThan(5)
  expect(Math.max(...sizes)).toBeLessThan(80_000)
  const lines = linesOf(Buffer.concat(client.written))
  expect(lines.filter((line) => line.startsWith('D C|'))).toHaveLength(5000)
  expect(lines.slice(-1)).toEqual(['Z I'])
})

test('a client that is drained while it is written to is not waited for', async () => {
  const client = new ConsoleClient('stats')
  client.takes = false
  client.onWrite = () => client.console.drained()
  client.send(query('SHOW VERSION'), query('SHOW VERSION'))
  await settled()
  expect(linesOf(Buffer.concat(client.written)).filter((line) => line === 'Z I')).toHaveLength(2)
})

test('a client that leaves while it does not take its answer leaves nothing behind', async () => {
  const client = new ConsoleClient('admin')
  client.takes = false
  await client.ask(query('SHOW VERSION'), query('KILL'))
  client.console.close()
  await settled()
  expect(client.written).toHaveLength(1)
  expect(client.administration.calls).toEqual([])
})

test('disable_pqexec refuses simple queries and leaves the extended protocol', async () => {
  const administration = new FakeAdministration()
  administration.configNow = await loadConfig({ pgbouncer: { disable_pqexec: true } })
  const client = new ConsoleClient('stats', administration)
  expect(await client.ask(...extended('SHOW VERSION'))).toContain('C SHOW')
  expect(await client.query('SHOW VERSION')).toEqual(['E FATAL 08P01 PQexec disallowed'])
  expect(client.ended).toBe(true)
})

test('a function call is refused, and what is left of a COPY passed over', async () => {
  const client = new ConsoleClient('stats')
  const lines = await client.ask({ code: 'F', body: Buffer.alloc(10) }, ...['d', 'c', 'f'].map(empty), query(''))
  expect(lines).toEqual(['E ERROR 0A000 function calls are not supported by the admin console', ...['Z I', 'I', 'Z I']])
})

const empty = (code: string): FrontendMessage => ({ code, body: Buffer.alloc(0) })

const wellFormed: Record<string, FrontendMessage> = {
  Query: query('SHOW STATE'),
  Parse: parse('SHOW STATE', 's', [23, 25]),
  Bind: bind({ portal: 'p', statement: 's', values: ['1', null], formats: [0, 1] }),
  Describe: describe('S', 's'),
  Execute: execute('p', 5),
  Close: close('P', 'p'),
  Sync: sync,
}

test.each(Object.entries(wellFormed))(
  'a %s that is cut short or too long ends the connection',
  async (_, { code, body }) => {
    const wrong: Buffer[] = [Buffer.concat([body, Buffer.of(0)])]
    for (let length = 0; length < body.length; length++) wrong.push(body.subarray(0, length))
    for (const cut of wrong) {
      const client = new ConsoleClient('admin')
      expect(await client.ask({ code, body: cut }, query('KILL'))).toEqual(['E FATAL 08P01 invalid message format'])
      expect(client.ended).toBe(true)
      expect(client.administration.calls).toEqual([])
    }
  },
)

test.each([
  ['a password', 'p', 'invalid frontend message type 112'],
  ['an unknown message', '!', 'invalid frontend message type 33'],
])('%s ends the connection', async (_, code, text) => {
  const client = new ConsoleClient('admin')
  expect(await client.ask(empty(code))).toEqual([`E FATAL 08P01 ${text}`])
  expect(client.ended).toBe(true)
})

test('Describe and Close of what is neither statement nor portal end the connection', async () => {
  for (const [code, name] of [
    ['D', 'DESCRIBE'],
    ['C', 'CLOSE'],
  ]) {
    const client = new ConsoleClient('admin')
    expect(await client.ask({ code: code!, body: Buffer.from('X\0') })).toEqual([
      `E FATAL 08P01 invalid ${name} message subtype 88`,
    ])
  }
})

test('hostile lengths and counts cost nothing', async () => {
  const bodies = [
    Buffer.from('\0\0\x7f\xff', 'latin1'), // 32767 types that are not there
    Buffer.from('\0\0\0\0\x7f\xff\xff\xff\xff\xff', 'latin1'), // as many parameters
    Buffer.from('\0\0\0\0\0\x01\x7f\xff\xff\xff', 'latin1'), // one parameter of 2 GB
    Buffer.from('\0\0\0\0\0\0\x7f\xff', 'latin1'), // 32767 formats
    Buffer.from('\0\0\xff\xff\xff\xff\xff\xff', 'latin1'),
  ]
  for (const code of ['P', 'B', 'E']) {
    for (const body of bodies) {
      const client = new ConsoleClient('admin')
      const lines = await client.ask({ code, body })
      expect(lines.every((line) => /^(E FATAL 08P01 invalid message format|E ERROR (26000|34000).*)$/.test(line))).toBe(
        true,
      )
    }
  }
})

test('whatever comes, nothing throws, and every Query and Sync has its ReadyForQuery', async () => {
  const names = fc.constantFrom('', 's', 'p')
  const texts = fc.constantFrom('SHOW STATE', 'SHOW POOLS', 'FOO', '', 'BEGIN', 'COMMIT', 'KILL pg', 'DEALLOCATE s')
  const sane: fc.Arbitrary<FrontendMessage> = fc.oneof(
    texts.map(query),
    fc.tuple(texts, names).map(([text, name]) => parse(text, name)),
    fc
      .record({ portal: names, statement: names, formats: fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 2 }) })
      .map(bind),
    fc.tuple(fc.constantFrom('S' as const, 'P' as const), names).map(([kind, name]) => describe(kind, name)),
    fc.tuple(fc.constantFrom('S' as const, 'P' as const), names).map(([kind, name]) => close(kind, name)),
    fc.tuple(names, fc.integer({ min: -1, max: 3 })).map(([name, most]) => execute(name, most)),
    fc.constantFrom(flush, sync),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(sane, { maxLength: 30 }), async (messages) => {
      const client = new ConsoleClient('admin')
      const codes = messagesOf(await client.bytes(...messages, sync)).map(({ code }) => code)
      let due = 1
      let skipping = false
      const answers = new ConsoleClient('admin')
      for (const message of messages) {
        if (message.code === 'S') skipping = false
        const answer = (await answers.messages(message, ...(/[PBDEC]/.test(message.code) ? [flush] : []))).map(
          (m) => m.code,
        )
        if (message.code === 'S' || (message.code === 'Q' && !skipping)) due++
        if (/[PBDEC]/.test(message.code) && answer.includes('E')) skipping = true
      }
      expect(codes.filter((code) => code === 'Z')).toHaveLength(due)
      expect(client.ended).toBe(false)
    }),
  )
})

test('random bytes as messages never throw, and the connection lasts or ends with a FATAL error', async () => {
  const noise = fc.array(
    fc.record({
      code: fc.oneof(
        fc.constantFrom(...'QPBDECHSFdcfXp'.split('')),
        fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 1 }),
      ),
      body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    }),
    { maxLength: 20 },
  )
  await fc.assert(
    fc.asyncProperty(noise, async (messages) => {
      const client = new ConsoleClient('admin')
      const lines = await client.ask(...messages)
      const fatal = lines.filter((line) => line.startsWith('E FATAL'))
      if (fatal.length > 0) expect([lines.at(-1), client.ended]).toEqual([fatal[0], true])
      expect(client.log.filter((line) => line.startsWith('error'))).toEqual([])
    }),
    { numRuns: 500 },
  )
})
