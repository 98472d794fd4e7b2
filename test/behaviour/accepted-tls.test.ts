// Connections over TLS that a server of the library's user has accepted: they count as encrypted.

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { type ConnectionOptions, createServer, TLSSocket, type TlsOptions, connect as tlsConnect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Issued } from '../harness/certificates.js'
import { pipes } from '../harness/pipes.js'
import { type Settings, startPooler, type TestPooler } from '../harness/pooler.js'
import { query, RawClient, startup } from '../harness/raw-client.js'
import { authority, certified, clientTlsFiles, Folder, ours, stranger } from '../harness/tls.js'

let folder: Folder
beforeAll(async () => {
  folder = await Folder.open(clientTlsFiles)
})
afterAll(() => folder[Symbol.asyncDispose]())

const login = { user: 'postgres', database: 'postgres' }
const refused = 'E FATAL 08P01 connection requires a valid client certificate'

/** A pooler behind a TLS server, and a way to come in by it. */
async function behindTls(settings: Settings, options: TlsOptions = {}) {
  const pooler = await startPooler(settings)
  onTestFinished(() => pooler[Symbol.asyncDispose]())
  const server = createServer({ cert: ours.cert, key: ours.key, ...options }, (socket) => pooler.pooler.accept(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const open = async (own: ConnectionOptions = {}): Promise<RawClient> => {
    const socket = tlsConnect({ port, host: '127.0.0.1', servername: 'localhost', ca: authority.cert, ...own })
    onTestFinished(() => void socket.destroy())
    await once(socket, 'secureConnect')
    return new RawClient(socket)
  }
  return { pooler, open }
}

/** `in`, or the error. */
async function outcome(client: RawClient, parameters: Record<string, string> = login): Promise<string> {
  client.send(startup(parameters))
  for (;;) {
    const line = await client.line()
    if (line.startsWith('E ')) return line
    if (line.startsWith('Z ')) return 'in'
  }
}

const tlsOfClient = async (pooler: TestPooler) => (await pooler.show('clients'))[0]?.tls

test('client_tls_sslmode = require is satisfied, and SHOW CLIENTS and the log tell of it', async () => {
  const { pooler, open } = await behindTls({ client_tls_sslmode: 'require', ...folder.clientTls })
  const client = await open()
  expect(await outcome(client)).toBe('in')
  expect(await client.ask(query('select 1 as x'))).toEqual(['T x', 'D 1', 'C SELECT 1', 'Z I'])
  expect(await tlsOfClient(pooler)).toMatch(/^TLSv1\.3\/TLS_AES_/)
  expect(pooler.logged).toContainEqual(expect.stringMatching(/login attempt: db=postgres user=postgres tls=TLSv1\.3\//))
})

test('hostssl lines are for them, hostnossl lines are not', async () => {
  const hba = await folder.write('hba.conf', 'hostnossl all all all reject\nhostssl all all all trust\n')
  const { pooler, open } = await behindTls({ auth_type: 'hba', auth_hba_file: hba })
  expect(await outcome(await open())).toBe('in')
  expect(await pooler.refusal({ user: 'postgres' })).toBe('E FATAL 08P01 login rejected')
})

const asking: TlsOptions = { requestCert: true, rejectUnauthorized: false, ca: authority.cert }
const show = ({ cert, key }: Issued): ConnectionOptions => ({ cert, key })

describe.each(['verify-ca', 'verify-full'])('client_tls_sslmode = %s', (mode) => {
  test.each([
    ['one that the server has checked', asking, show(certified('postgres')), 'in'],
    ['one that it did not trust', asking, show(certified('postgres', stranger)), refused],
    ['none', asking, {}, refused],
    ['one, but nobody asked for it', {}, show(certified('postgres')), refused],
  ] as const)('wants a certificate: %s', async (_what, options, own, expected) => {
    const { open } = await behindTls({ client_tls_sslmode: mode, ...folder.clientTls }, options)
    expect(await outcome(await open(own))).toBe(expected)
  })
})

test('auth_type = cert takes the name of the certificate', async () => {
  const settings = { client_tls_sslmode: 'verify-full', ...folder.clientTls, auth_type: 'cert' }
  const { open } = await behindTls(settings, asking)
  expect(await outcome(await open(show(certified('postgres'))))).toBe('in')
  expect(await outcome(await open(show(certified('mallory'))))).toBe('E FATAL 08P01 certificate authentication failed')
})

test('TLS within TLS is not begun', async () => {
  const { pooler, open } = await behindTls({ client_tls_sslmode: 'require', ...folder.clientTls })
  const client = await open()
  client.send(Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]))
  expect(await client.toTheEnd()).toEqual(["E FATAL 08P01 bad packet header: '1603010005010203'"])
  expect(pooler.logged.filter((line) => line.includes('TLS handshake'))).toEqual([])
})

test('a socket whose handshake is not over is for later', async () => {
  await using pooler = await startPooler()
  const [near] = pipes()
  const socket = new TLSSocket(near as never, { isServer: true, cert: ours.cert, key: ours.key })
  socket.on('error', () => {})
  expect(() => pooler.pooler.accept(socket)).toThrow('accept the socket on secureConnection')
  socket.destroy()
})
