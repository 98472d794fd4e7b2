// Certificates in files, for settings that name them, and TLS connections byte by byte.

import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, createSecureContext, TLSSocket, connect as tlsConnect } from 'node:tls'
import { Authority, type Issued, yesterday } from './certificates.js'
import { BackendConnection, FakeBackend, readyForQuery } from './fake-backend.js'
import { message, RawClient } from './raw-client.js'

/** What tests of TLS need: two authorities that do not know each other, and a certificate of each kind. */
export const authority: Authority = new Authority('the authority')
export const stranger: Authority = new Authority('another authority')
/** For a server at `localhost` and `127.0.0.1`. */
export const ours: Issued = authority.issue({ hosts: ['localhost', '127.0.0.1'] })

const past = { notBefore: new Date(0), notAfter: yesterday() }
export const wrongServers: Readonly<Record<string, Issued>> = {
  expired: authority.issue({ hosts: ['localhost', '127.0.0.1'], ...past }),
  'wrong host': authority.issue({ commonName: 'other.example', hosts: ['other.example'] }),
  'wrong authority': stranger.issue({ hosts: ['localhost', '127.0.0.1'] }),
}

/** Of a client that may call itself `commonName`. */
export const certified = (commonName: string, by: Authority = authority): Issued => by.issue({ commonName })
export const expired = (commonName: string): Issued => authority.issue({ commonName, ...past })

/** Files of a pooler that has TLS with clients: see `Folder.clientTls`. */
export const clientTlsFiles = { 'server.crt': ours.cert, 'server.key': ours.key, 'clients.crt': authority.cert }

export class Folder implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async open(files: Readonly<Record<string, string>> = {}): Promise<Folder> {
    const folder = new Folder(await mkdtemp(join(tmpdir(), 'tsbouncer-files-')))
    for (const [name, text] of Object.entries(files)) await folder.write(name, text)
    return folder
  }

  /** The path of a file, which may not be there yet. */
  file(name: string): string {
    return join(this.path, name)
  }

  /** Settings that name `clientTlsFiles`. */
  get clientTls() {
    return {
      client_tls_cert_file: this.file('server.crt'),
      client_tls_key_file: this.file('server.key'),
      client_tls_ca_file: this.file('clients.crt'),
    }
  }

  async write(name: string, text: string): Promise<string> {
    await writeFile(this.file(name), text, { mode: 0o600 })
    return this.file(name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

export interface RawTls extends ConnectionOptions {
  /** Without an SSLRequest before. */
  readonly direct?: boolean
}

const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47])

/** A connection that has made its handshake, and has said nothing yet. Rejects where it fails. */
export async function openTls(port: number, options: RawTls = {}): Promise<RawClient> {
  return new RawClient(await secureStream(port, options))
}

async function secureStream(port: number, { direct = false, ...options }: RawTls = {}): Promise<TLSSocket> {
  const stream = connect(port, '127.0.0.1')
  await once(stream, 'connect')
  if (!direct) {
    stream.write(sslRequest)
    const answer = await new Promise<Buffer>((resolve, reject) => {
      stream.once('data', resolve)
      stream.once('close', () => reject(new Error('closed in answer to the SSLRequest')))
    })
    if (answer.toString() !== 'S') throw new Error(`answered ${JSON.stringify(answer.toString())} to the SSLRequest`)
  }
  return new Promise<TLSSocket>((resolve, reject) => {
    const socket = tlsConnect({ socket: stream, ca: authority.cert, host: 'localhost', ...options })
    socket.once('secureConnect', () => resolve(socket))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('closed during the handshake')))
  })
}

/** Welcomes whoever comes, and answers every message with an empty query's answer. */
export async function serveEmptyQueries(connection: BackendConnection): Promise<void> {
  await connection.welcome()
  for (;;) {
    await connection.message()
    connection.send(message('I'), readyForQuery())
  }
}

/** A server with TLS that is no PostgreSQL: `serve` has the connection after the handshake. */
export function startTlsBackend(
  shown: Issued,
  serve: (connection: BackendConnection, secured: TLSSocket) => Promise<void>,
  { direct = false, alpn = true, host = '127.0.0.1' } = {},
): Promise<FakeBackend> {
  const secureContext = createSecureContext({ cert: shown.cert, key: shown.key })
  return FakeBackend.start(async (connection) => {
    if (!direct) {
      await connection.packet()
      connection.send(Buffer.from('S'))
    }
    const secured = new TLSSocket(connection.socket, {
      isServer: true,
      secureContext,
      ...(alpn && { ALPNProtocols: ['postgresql'] }),
    })
    secured.on('error', () => {})
    await once(secured, 'secure')
    await serve(new BackendConnection(secured), secured)
  }, host)
}

/** TLS in front of a server that has none. */
export function startTlsFront(port: number): Promise<FakeBackend> {
  return startTlsBackend(ours, async (connection, secured) => {
    const far = connect(port, '127.0.0.1')
    far.on('error', () => {})
    secured.removeAllListeners('data')
    far.write(connection.unread)
    secured.pipe(far).pipe(secured)
  })
}

/** Somebody in between: ends the TLS of those who connect with a certificate of its own, and begins another behind it. */
export async function startInterceptor(
  shown: Issued,
  port: number,
): Promise<{ readonly port: number } & AsyncDisposable> {
  const sockets = new Set<Duplex>()
  const secureContext = createSecureContext({ cert: shown.cert, key: shown.key })
  const passOn = async (near: TLSSocket): Promise<void> => {
    const far = await secureStream(port)
    sockets.add(far)
    near.pipe(far).pipe(near)
  }
  const listener = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('data', () => {
      socket.write('S')
      const near = new TLSSocket(socket, { isServer: true, secureContext })
      near.on('error', () => {})
      near.once('secure', () => void passOn(near))
    })
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  return {
    port: (listener.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}
