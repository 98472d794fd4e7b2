// Why it does not start: one sentence that names the setting and says what to do, in the configured format.

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { asUser, isRoot, run } from './command.js'
import { listenOn, makeSetup } from './setup.js'

type Setup = Awaited<ReturnType<typeof makeSetup>>

/** The last line of a start that fails. */
async function failure(setup: Setup, words: readonly string[] = asUser): Promise<string | undefined> {
  const running = run([...words, setup.ini])
  expect(await running.ended).toBe(1)
  expect(running.stderr).not.toContain('    at ') // no stack
  return running.lines().at(-1)
}

const inUse = (port: number): string =>
  `listen_addr: port ${port} of 127.0.0.1 is in use: end what listens there, or set another listen_port`

test('a port in use', async () => {
  using setup = await makeSetup()
  const other = await listenOn(setup.port)
  try {
    expect(await failure(setup)).toBe(`FATAL ${inUse(setup.port)}`)
  } finally {
    other.close()
  }
})

test.each<[string, Record<string, string>, string | RegExp]>([
  [
    'an address that is not ours',
    { listen_addr: '192.0.2.1' },
    'listen_addr: 192.0.2.1 is no address of this machine: name one that it has, or * for all',
  ],
  [
    'a folder for the socket that is not there',
    { unix_socket_dir: '/absent' },
    'unix_socket_dir: there is no folder /absent: make it, set another, or none to listen by TCP alone',
  ],
  [
    'a folder for the socket that is not ours to write to',
    { unix_socket_dir: '/proc' },
    'unix_socket_dir: this user may not write to /proc: let it, or set another folder',
  ],
  [
    'a group that is not there',
    { unix_socket_dir: 'FOLDER', unix_socket_group: 'zork' },
    'unix_socket_group: there is no group "zork": name one of /etc/group, or give its number',
  ],
  [
    'a pid file in a folder that is not there',
    { pidfile: '/absent/pooler.pid' },
    "could not write pidfile '/absent/pooler.pid': no such file or directory",
  ],
  ['a log file that is a folder', { logfile: '/' }, "Cannot open logfile: '/': illegal operation on a directory"],
  ['a user that is not there', { user: 'zork' }, "could not find user 'zork' to switch to (user, or -u)"],
  [
    'an auth_file that is not there',
    { auth_file: '/absent' },
    'could not open auth_file /absent: no such file or directory',
  ],
  [
    'a certificate that is not there',
    { client_tls_sslmode: 'require', client_tls_cert_file: '/absent', client_tls_key_file: '/absent' },
    'could not open client_tls_cert_file /absent: no such file or directory',
  ],
  [
    'a certificate that is none',
    { client_tls_sslmode: 'require', client_tls_cert_file: 'INI', client_tls_key_file: 'INI' },
    /^TLS setup failed: client_tls_\w+_file: /,
  ],
])('%s', async (_, settings, expected) => {
  using setup = await makeSetup()
  const places: Record<string, string> = { FOLDER: setup.folder, INI: setup.ini }
  setup.write(Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, places[value] ?? value])))
  const line = await failure(setup, 'user' in settings ? [] : asUser)
  expect(line?.slice(0, 6)).toBe('FATAL ')
  if (typeof expected === 'string') expect(line?.slice(6)).toBe(expected)
  else expect(line?.slice(6)).toMatch(expected)
})

test.runIf(isRoot)('a group that the user is not a member of', async () => {
  using setup = await makeSetup()
  setup.write({ unix_socket_dir: setup.folder, unix_socket_group: 0 })
  expect(await failure(setup)).toMatch(
    /^FATAL unix_socket_group: cannot give \S+ to group "0", of which this user must be a member: EPERM/,
  )
})

test('a file of the pooler that may not be read', async () => {
  using setup = await makeSetup()
  writeFileSync(setup.file('secret'), '')
  chmodSync(setup.file('secret'), 0)
  setup.write({ auth_file: setup.file('secret') })
  expect(await failure(setup)).toBe(`FATAL could not open auth_file ${setup.file('secret')}: permission denied`)
})

test('a socket that another process listens at, and what is no socket', async () => {
  using setup = await makeSetup()
  setup.write({ unix_socket_dir: setup.folder, listen_addr: '' })
  const path = setup.file(`.s.PGSQL.${setup.port}`)
  const other = createServer().listen(path)
  try {
    chmodSync(await new Promise<string>((resolve) => other.once('listening', () => resolve(path))), 0o777)
    expect(await failure(setup)).toBe(
      `FATAL unix socket is in use, cannot continue: another process listens at ${path}: ` +
        'end it, or set another unix_socket_dir or listen_port',
    )
  } finally {
    other.close()
  }
  mkdirSync(path)
  expect(await failure(setup)).toBe(
    `FATAL unix_socket_dir: ${path} is there already, and is no socket: remove it, or set another folder`,
  )
})

test.each([{ logfile: '/absent/pooler.log' }, { user: 'zork' }, {}])(
  'as JSON, with log_format = json: %j',
  async (wrong) => {
    using setup = await makeSetup({ log_format: 'json' })
    setup.write({ ...wrong })
    const other = await listenOn(setup.port)
    try {
      const running = run([...('user' in wrong ? [] : asUser), setup.ini])
      expect(await running.ended).toBe(1)
      const said = running.stderr
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { level: string; msg: string })
      expect(said.at(-1)).toMatchObject({
        level: 'fatal',
        msg: expect.stringMatching(/logfile|user|^listen_addr: port/),
      })
    } finally {
      other.close()
    }
  },
)
