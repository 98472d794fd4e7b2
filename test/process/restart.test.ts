// A new pooler beside the old one on the same port (so_reuseport), and the old one goes.

import { existsSync, readFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { canReusePort } from '../../src/io/listener.js'
import { visitDuring } from './come-and-go.js'
import { asUser, type Running, run } from './command.js'
import { connectTo, makeSetup } from './setup.js'

/** REUSEPORT_NODE: the program of a Node.js that knows SO_REUSEPORT, where the one that runs the tests does not. */
const node = canReusePort ? process.execPath : process.env.REUSEPORT_NODE
if (node === undefined)
  console.warn('restarts with so_reuseport are not tested: Node.js is too old, REUSEPORT_NODE is not set')

const isTested = process.platform === 'linux' && node !== undefined

async function start(ini: string): Promise<Running> {
  const running = run([...asUser, ini], {}, node)
  await running.says('process up: ')
  return running
}

/** Does the kernel give clients of a listener that closes to the others of its port? Else it resets them. */
function migrates(): boolean {
  try {
    return readFileSync('/proc/sys/net/ipv4/tcp_migrate_req', 'utf8').trim() === '1'
  } catch {
    return false
  }
}

test.runIf(isTested)('a restart with so_reuseport: no login is refused, no query fails', async () => {
  using old = await makeSetup({ so_reuseport: 1, pool_mode: 'transaction' })
  old.write({ listen_port: old.port, unix_socket_dir: old.folder })
  using next = await makeSetup({ so_reuseport: 1, pool_mode: 'transaction', listen_port: old.port })
  await using first = await start(old.ini)
  const staying = await connectTo('postgres', old.port)
  await using second = await start(next.ini)
  const visitors = () => second.stderr.split('login attempt').length - 1
  const outcomes = await visitDuring(old.port, async () => {
    await vi.waitFor(() => expect(visitors()).toBeGreaterThan(5), 10_000)
    first.kill('SIGTERM')
    await first.says('got SIGTERM')
    await vi.waitFor(() => expect(visitors()).toBeGreaterThan(50), 10_000)
    expect((await staying.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    await staying.end()
    expect(await first.ended).toBe(0)
    expect(existsSync(old.pidfile)).toBe(false)
    expect(next.pid()).toBe(second.child.pid)
  })
  // Those in the queue of the listener that closed: at most the visitors there are.
  const resets = (outcomes['login: ECONNRESET'] ?? 0) + (outcomes['connect: ECONNRESET'] ?? 0)
  expect(resets).toBeLessThanOrEqual(migrates() ? 0 : 4)
  expect(Object.keys(outcomes).filter((outcome) => !outcome.endsWith(': ECONNRESET'))).toEqual(['served'])
  expect(Object.keys(outcomes)).not.toContain('query: ECONNRESET')
})

test.runIf(isTested)(
  'the new one needs a pid file and a Unix socket of its own while the old one is there',
  async () => {
    using old = await makeSetup({ so_reuseport: 1 })
    old.write({ unix_socket_dir: old.folder })
    await using first = await start(old.ini)
    const failure = async (): Promise<string | undefined> => {
      const running = run([...asUser, old.ini], {}, node)
      expect(await running.ended).toBe(1)
      return running.lines().at(-1)
    }
    expect(await failure()).toBe(`FATAL pidfile '${old.pidfile}' exists, another instance running?`)
    old.write({ unix_socket_dir: old.folder, pidfile: '' })
    expect(await failure()).toMatch(
      /^FATAL unix socket is in use, cannot continue: another process listens at \/.*: end it, or set another /,
    )
    first.kill('SIGINT')
    expect(await first.ended).toBe(0)
  },
)
