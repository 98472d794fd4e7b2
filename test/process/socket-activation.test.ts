// Sockets that a service manager passes on: taken over in place of those of the configuration.

import { closeSync, existsSync, linkSync, openSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import pg from 'pg'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { findFreePort } from '../../src/demo/port.js'
import { takePassedSockets } from '../../src/process/socket-activation.js'
import { visitDuring } from './come-and-go.js'
import { asUser, type Running, runWithSockets } from './command.js'
import { accepts, connectTo, makeSetup } from './setup.js'

describe('LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES', () => {
  const take = (env: NodeJS.ProcessEnv) => takePassedSockets(env, 42)

  test('descriptors begin with 3, and have the names that their units give them', () => {
    expect(take({ LISTEN_PID: '42', LISTEN_FDS: '1' })).toEqual([{ fd: 3, name: '' }])
    expect(take({ LISTEN_PID: '42', LISTEN_FDS: '2', LISTEN_FDNAMES: 'tcp:' })).toEqual([
      { fd: 3, name: 'tcp' },
      { fd: 4, name: '' },
    ])
    expect(take({ LISTEN_PID: '42', LISTEN_FDS: '0', LISTEN_FDNAMES: '' })).toEqual([])
  })

  test('are for one process only, and are gone for all that it starts', () => {
    const variables = { LISTEN_PID: '43', LISTEN_FDS: '1', LISTEN_FDNAMES: 'a', LISTEN_PIDFDID: '7' }
    const env: NodeJS.ProcessEnv = { ...variables, PATH: '/bin' }
    expect(take(env)).toEqual([])
    expect(env).toEqual({ PATH: '/bin' })
    expect(take({ LISTEN_FDS: '1' })).toEqual([])
    expect(take({ LISTEN_PID: '42' })).toEqual([])
  })

  test.each([
    [{ LISTEN_PID: 'zork', LISTEN_FDS: '1' }, 'LISTEN_PID=zork: expected a number (see sd_listen_fds(3))'],
    [{ LISTEN_PID: '42', LISTEN_FDS: '-1' }, 'LISTEN_FDS=-1: expected a number (see sd_listen_fds(3))'],
    [{ LISTEN_PID: '42', LISTEN_FDS: '1000' }, 'LISTEN_FDS=1000: expected a number (see sd_listen_fds(3))'],
    [{ LISTEN_PID: '42', LISTEN_FDS: '1', LISTEN_FDNAMES: 'a:b' }, 'LISTEN_FDNAMES has 2 names for LISTEN_FDS=1: a:b'],
  ])('%j is an error', (env, message) => {
    expect(() => take(env)).toThrow(message)
  })
})

test('the unit for systemd hands over listening sockets at the port of the settings', () => {
  const unit = readFileSync(new URL('../../deploy/systemd/tsbouncer.socket', import.meta.url), 'utf8')
  expect([...unit.matchAll(/^ListenStream=(.*)$/gm)].map(([, address]) => address)).toEqual([
    '6432',
    '/tmp/.s.PGSQL.6432',
  ])
  expect(unit).not.toMatch(/^Accept=/m)
})

/** A listening socket as systemd has one: nobody accepts at it here once `letGo` has been called. */
async function socketFor(address: { port: number; host: string } | { path: string }) {
  const server: Server & { _handle?: { readonly fd: number } } = createServer()
  await new Promise<void>((resolve) => server.listen(address, resolve))
  const letGo = (): void => void server.close()
  onTestFinished(letGo)
  return { fd: server._handle!.fd, letGo }
}

function openFile(path: string) {
  const fd = openSync(path, 'r')
  return { fd, [Symbol.dispose]: () => closeSync(fd) }
}

const loopback = async () => ({ host: '127.0.0.1', port: await findFreePort() })

async function ready(running: Running): Promise<Running> {
  await running.says('process up: ')
  return running
}

describe.skipIf(process.platform !== 'linux')('a pooler that is started with sockets', () => {
  test('listens at these, TCP and Unix, and not where its configuration says', async () => {
    using setup = await makeSetup()
    setup.write({ unix_socket_dir: setup.folder })
    const address = await loopback()
    const path = setup.file('.s.PGSQL.7777')
    const [tcp, unix] = [await socketFor(address), await socketFor({ path })]
    await using running = await ready(
      runWithSockets([tcp.fd, unix.fd], [...asUser, setup.ini], { LISTEN_FDNAMES: 'pooler.socket:local' }),
    )
    tcp.letGo()
    expect(running.lines()).toEqual([
      'WARNING sockets passed from service manager, listen_addr ignored',
      'WARNING sockets passed from service manager, unix_socket_dir ignored',
      expect.stringMatching(/^LOG kernel file descriptor limit: /),
      `LOG socket passed from service manager (fd 3, pooler.socket): 127.0.0.1:${address.port}`,
      `LOG socket passed from service manager (fd 4, local): unix:${path}`,
      expect.stringMatching(/^LOG process up: /),
    ])
    expect(await accepts(setup.port)).toBe(false)
    expect(existsSync(setup.file(`.s.PGSQL.${setup.port}`))).toBe(false)
    const client = await connectTo('pgbouncer', address.port)
    const { rows } = await client.query<{ local_port: number }>('SHOW CLIENTS')
    expect(rows.map((row) => row.local_port)).toEqual([address.port])
    await client.end()
    running.kill('SIGINT')
    expect(await running.ended).toBe(0)
    expect(existsSync(path)).toBe(true) // it is the service manager's
  })

  test('serves by a Unix socket alone', async () => {
    using setup = await makeSetup({ listen_addr: '' })
    const path = setup.file('.s.PGSQL.7777')
    const unix = await socketFor({ path })
    await using running = await ready(runWithSockets([unix.fd], [...asUser, setup.ini]))
    expect(running.lines()[1]).toBe(`LOG socket passed from service manager (fd 3): unix:${path}`)
    linkSync(path, setup.file('.s.PGSQL.7778')) // letting go of it, Node.js removes its own name of it
    unix.letGo()
    const client = new pg.Client({ host: setup.folder, port: 7778, user: 'trust_user', database: 'postgres' })
    await client.connect()
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await client.end()
  })

  test('in the background, too', async () => {
    using setup = await makeSetup()
    const address = await loopback()
    const tcp = await socketFor(address)
    const starter = runWithSockets([tcp.fd], [...asUser, '-d', setup.ini])
    expect(await starter.ended).toBe(0)
    tcp.letGo()
    const client = await connectTo('postgres', address.port)
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await client.end()
    process.kill(setup.pid(), 'SIGINT')
    await vi.waitFor(() => expect(existsSync(setup.pidfile)).toBe(false), 30_000)
  })

  test('sockets for another process are left alone', async () => {
    using setup = await makeSetup()
    const tcp = await socketFor(await loopback())
    await using running = await ready(runWithSockets([tcp.fd], [...asUser, setup.ini], { LISTEN_PID: '1' }))
    expect(running.lines()).toContain(`LOG listening on 127.0.0.1:${setup.port}`)
  })

  test.each([
    ['there are fewer than said', { LISTEN_FDS: '2' }, /^FATAL file descriptor 4 is not /],
    ['the number is none', { LISTEN_FDS: 'one' }, /^FATAL LISTEN_FDS=one: expected a number/],
  ])('it does not start if %s', async (_what, env, message) => {
    using setup = await makeSetup()
    const tcp = await socketFor(await loopback())
    const running = runWithSockets([tcp.fd], [...asUser, setup.ini], env)
    expect(await running.ended).toBe(1)
    expect(running.lines().at(-1)).toMatch(message)
    expect(existsSync(setup.pidfile)).toBe(false)
  })

  test('what is no socket to listen at is refused by name', async () => {
    using setup = await makeSetup()
    using file = openFile(setup.ini)
    const running = runWithSockets([file.fd], [...asUser, setup.ini])
    expect(await running.ended).toBe(1)
    expect(running.lines().at(-1)).toBe('FATAL file descriptor 3 is not a socket')
  })

  test('a restart refuses nobody: who comes meanwhile waits for the next one', async () => {
    using setup = await makeSetup({ pool_mode: 'transaction' })
    const address = await loopback()
    const tcp = await socketFor(address)
    // The service manager keeps the socket, and starts one after the other.
    const manager = `for n in 1 2; do sh -c 'LISTEN_PID=$$ exec "$0" "$@"' "$0" "$@"; done`
    await using running = runWithSockets([tcp.fd], [...asUser, setup.ini], {}, manager)
    await running.says('process up: ')
    const first = setup.pid()
    tcp.letGo()
    const logins = () => running.stderr.split('process up: ').at(-1)!.split('login attempt').length - 1
    const outcomes = await visitDuring(address.port, async () => {
      await vi.waitFor(() => expect(logins()).toBeGreaterThan(10), 10_000)
      process.kill(first, 'SIGTERM')
      await vi.waitFor(() => expect(running.stderr.split('process up: ')).toHaveLength(3), 10_000)
      await vi.waitFor(() => expect(logins()).toBeGreaterThan(10), 10_000)
    })
    expect(outcomes).toEqual({ served: expect.any(Number) })
    expect(setup.pid()).not.toBe(first)
    process.kill(setup.pid(), 'SIGTERM')
    expect(await running.ended).toBe(0)
  })
})
