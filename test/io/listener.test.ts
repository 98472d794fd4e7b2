import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type NetConnectOpts, type Socket as NetSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Listener, type TcpOptions, type UnixOptions } from '../../src/io/listener.js'

interface Arrived {
  readonly kind: string
  readonly isOwnUser: boolean
}

function folder(mode = 0o755): string {
  const path = mkdtempSync(join(tmpdir(), 'listener-'))
  chmodSync(path, mode)
  onTestFinished(() => {
    chmodSync(path, 0o700)
    rmSync(path, { recursive: true, force: true })
  })
  return path
}

const unix = (path: string, more: Partial<UnixOptions> = {}): UnixOptions => ({
  kind: 'unix',
  folder: path,
  port: 6432,
  backlog: 16,
  mode: 0o777,
  group: '',
  ...more,
})

const tcp = (more: Partial<TcpOptions> = {}): TcpOptions => ({
  kind: 'tcp',
  host: '127.0.0.1',
  port: 0,
  backlog: 16,
  reusePort: false,
  ...more,
})

async function open(options: TcpOptions | UnixOptions): Promise<{ listener: Listener; arrived: Arrived[] }> {
  const arrived: Arrived[] = []
  const listener = await Listener.open(options, (socket, kind, isOwnUser) => {
    arrived.push({ kind, isOwnUser })
    socket.on('error', () => {})
    socket.end('welcome')
    socket.resume()
  })
  onTestFinished(() => listener.close())
  return { listener, arrived }
}

/** What somebody who connects is told. */
async function hear(target: NetConnectOpts): Promise<string> {
  const socket: NetSocket = connect(target)
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  await once(socket, 'close')
  return text
}

test('a TCP address is listened at, and named with its port', async () => {
  const { listener, arrived } = await open(tcp())
  expect(listener.description).toBe(`127.0.0.1:${listener.port}`)
  expect(listener.port).toBeGreaterThan(0)
  expect(await hear({ host: '127.0.0.1', port: listener.port })).toBe('welcome')
  expect(arrived).toEqual([{ kind: 'tcp', isOwnUser: false }])
})

test('an IPv6 address is named in brackets', async (context) => {
  const opened = await open(tcp({ host: '::1' })).catch((error: NodeJS.ErrnoException) => error)
  if (opened instanceof Error) return context.skip(`no IPv6 here: ${opened.message}`)
  expect(opened.listener.description).toBe(`[::1]:${opened.listener.port}`)
})

test('* is every address', async () => {
  const { listener } = await open(tcp({ host: '*' }))
  expect(listener.description).toBe(`*:${listener.port}`)
  expect(await hear({ host: '127.0.0.1', port: listener.port })).toBe('welcome')
})

test('an address in use, or not ours, is an error that says so', async () => {
  const { listener } = await open(tcp())
  await expect(open(tcp({ port: listener.port }))).rejects.toMatchObject({
    code: 'EADDRINUSE',
    message: `listen_addr: port ${listener.port} of 127.0.0.1 is in use: end what listens there, or set another listen_port`,
  })
  await expect(open(tcp({ host: '192.0.2.1' }))).rejects.toMatchObject({
    code: 'EADDRNOTAVAIL',
    message: 'listen_addr: 192.0.2.1 is no address of this machine: name one that it has, or * for all',
  })
})

test('connections are not read before somebody does', async () => {
  let accepted: NetSocket | undefined
  const listener = await Listener.open(tcp(), (socket) => {
    accepted = socket
  })
  onTestFinished(() => {
    listener.close()
    accepted?.destroy()
  })
  const client = connect(listener.port, '127.0.0.1')
  onTestFinished(() => void client.destroy())
  client.write('x')
  while (accepted === undefined) await new Promise((resolve) => setImmediate(resolve))
  expect(accepted.isPaused()).toBe(true)
})

test('closed, it takes no more, and those it took go on', async () => {
  const sockets: NetSocket[] = []
  const listener = await Listener.open(tcp(), (socket) => {
    sockets.push(socket)
  })
  const client = connect(listener.port, '127.0.0.1')
  onTestFinished(() => void client.destroy())
  await once(client, 'connect')
  while (sockets.length === 0) await new Promise((resolve) => setImmediate(resolve))
  listener.close()
  await expect(hear({ host: '127.0.0.1', port: listener.port })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  sockets[0]!.end('still here')
  expect(String((await once(client, 'data'))[0])).toBe('still here')
})

const isUnix = process.platform !== 'win32'
const isLinux = process.platform === 'linux'

test.runIf(isUnix)('a Unix socket has PostgreSQL’s name, and goes when it is closed', async () => {
  const path = folder()
  const { listener, arrived } = await open(unix(path))
  const file = join(path, '.s.PGSQL.6432')
  expect(listener.description).toBe(`unix:${file}`)
  expect(await hear({ path: file })).toBe('welcome')
  expect(arrived.length).toBe(1)
  listener.close()
  expect(existsSync(file)).toBe(false)
})

test.runIf(isUnix).each([0o777, 0o770, 0o700, 0o600])('its file has mode %o, whatever the umask', async (mode) => {
  const path = folder()
  const before = process.umask()
  await open(unix(path, { mode }))
  expect(statSync(join(path, '.s.PGSQL.6432')).mode & 0o777).toBe(mode)
  expect(process.umask()).toBe(before)
})

test.runIf(isUnix)('a file that nobody listens at any more is replaced', async () => {
  const path = folder()
  const file = join(path, '.s.PGSQL.6432')
  const dead = createServer()
  dead.listen(file)
  await once(dead, 'listening')
  // As after a crash: the file stays.
  const kept = join(path, 'kept')
  linkSync(file, kept)
  dead.close()
  await once(dead, 'close')
  linkSync(kept, file)
  await expect(hear({ path: file })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  await open(unix(path))
  expect(await hear({ path: file })).toBe('welcome')
})

test.runIf(isUnix)('one that somebody listens at is left alone', async () => {
  const path = folder()
  await open(unix(path))
  await expect(Listener.open(unix(path), () => {})).rejects.toThrow('unix socket is in use, cannot continue')
  expect(await hear({ path: join(path, '.s.PGSQL.6432') })).toBe('welcome')
})

test.runIf(isUnix)('a folder that is not there is an error', async () => {
  const missing = join(folder(), 'missing')
  await expect(open(unix(missing))).rejects.toMatchObject({
    message: `unix_socket_dir: there is no folder ${missing}: make it, set another, or none to listen by TCP alone`,
    syscall: 'listen',
  })
})

test.runIf(isUnix)('a path that is too long for a socket is refused, and not cut off', async () => {
  const path = join(folder(), 'x'.repeat(100))
  mkdirSync(path)
  await expect(open(unix(path))).rejects.toThrow(
    `unix_socket_dir: ${path}/.s.PGSQL.6432 is too long for a socket: set a folder with a shorter path`,
  )
  expect(readdirSync(path)).toEqual([])
})

test('a name that stands for no address is refused with its setting', async () => {
  await expect(open(tcp({ host: 'absent.invalid' }))).rejects.toMatchObject({
    message: expect.stringMatching(
      /^getaddrinfo\('absent\.invalid', '\d+'\) = E\w+ \(listen_addr\): name an address of this machine, or \* for all$/,
    ),
    syscall: 'listen',
  })
})

test.runIf(isUnix)('a group is given the file by number, and an unknown one is refused by name', async () => {
  const path = folder()
  const gid = process.getgid!()
  await open(unix(path, { group: String(gid) }))
  expect(statSync(join(path, '.s.PGSQL.6432')).gid).toBe(gid)
  await expect(open(unix(folder(), { group: 'no-such-group' }))).rejects.toThrow(
    'unix_socket_group: there is no group "no-such-group"',
  )
})

test.runIf(isLinux)('an abstract socket has no file', async () => {
  const name = `listener-test-${process.pid}`
  const { listener } = await open(unix(`@${name}`))
  expect(listener.description).toBe(`unix:@${name}/.s.PGSQL.6432`)
  expect(await hear({ path: `\0${name}/.s.PGSQL.6432` })).toBe('welcome')
})

// Who may connect as the pooler's own user without a password: nobody else can open the socket.
test.runIf(isLinux).each<[string, number, number, boolean]>([
  ['open to all', 0o755, 0o777, false],
  ['its file is ours alone', 0o755, 0o700, true],
  ['its file may be read by others, not written', 0o755, 0o744, true],
  ['its file may be written by a group', 0o755, 0o770, false],
  ['its folder is ours alone', 0o700, 0o777, true],
  ['its folder may be searched by others', 0o711, 0o777, false],
  ['its folder may be searched by a group', 0o710, 0o777, false],
])('%s: %#', async (_, folderMode, mode, expected) => {
  const path = folder(folderMode)
  const { arrived } = await open(unix(path, { mode }))
  await hear({ path: join(path, '.s.PGSQL.6432') })
  expect(arrived).toEqual([{ kind: 'unix', isOwnUser: expected }])
})

test.runIf(isLinux)('an abstract socket is everybody’s', async () => {
  const name = `listener-open-${process.pid}`
  const { arrived } = await open(unix(`@${name}`, { mode: 0o700 }))
  await hear({ path: `\0${name}/.s.PGSQL.6432` })
  expect(arrived).toEqual([{ kind: 'unix', isOwnUser: false }])
})

test.runIf(isLinux && process.getuid?.() === 0)(
  'a socket in a folder of somebody else’s is not ours alone',
  async () => {
    const path = folder(0o700)
    chownSync(path, 65_534, 65_534)
    const { arrived } = await open(unix(path, { mode: 0o777 }))
    await hear({ path: join(path, '.s.PGSQL.6432') })
    expect(arrived).toEqual([{ kind: 'unix', isOwnUser: false }])
  },
)

test.runIf(isUnix)('a plain file in the place of the socket is not removed', async () => {
  const path = folder()
  const file = join(path, '.s.PGSQL.6432')
  writeFileSync(file, 'precious')
  await expect(open(unix(path))).rejects.toMatchObject({
    code: 'EADDRINUSE',
    message: `unix_socket_dir: ${file} is there already, and is no socket: remove it, or set another folder`,
  })
  expect(statSync(file).isFile()).toBe(true)
})
