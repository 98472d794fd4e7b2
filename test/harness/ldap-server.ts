// A directory small enough to be read: LDAP binds, searches and StartTLS, and what it was asked.
// RFC 4511; its encoding is that of X.690 (BER) with definite lengths.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import type { Issued } from './certificates.js'

export interface Entry {
  readonly dn: string
  readonly password?: string
  readonly attributes?: Readonly<Record<string, string>>
}

interface Element {
  readonly tag: number
  readonly body: Buffer
  /** Of a constructed one. */
  readonly parts: readonly Element[]
}

export interface LdapServerOptions {
  readonly entries?: readonly Entry[]
  /** Given: StartTLS is offered; with `ldaps`, TLS is spoken from the first byte. */
  readonly certificate?: Issued
  readonly ldaps?: boolean
  /** Takes requests of this kind without ever answering. */
  /** Sent in the clear right behind the answer to StartTLS. */
  readonly injected?: Buffer
  readonly silentOn?: 'bind' | 'search' | 'startTls' | 'handshake'
}

const code = { success: 0, protocolError: 2, noSuchObject: 32, invalidCredentials: 49, insufficientAccess: 50 }

export class LdapServer implements AsyncDisposable {
  /** `bind DN`, `search BASE SCOPE FILTER`, `startTls`; those that came encrypted begin with `tls: `. */
  readonly asked: string[] = []
  readonly port: number
  readonly #options: LdapServerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, options: LdapServerOptions) {
    this.#server = server
    this.#options = options
    this.port = (server.address() as AddressInfo).port
    server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
      if (options.silentOn === 'handshake') return void socket.resume()
      this.#serve(options.ldaps === true ? this.#encrypted(socket) : socket, options.ldaps === true)
    })
  }

  static async start(options: LdapServerOptions = {}): Promise<LdapServer> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new LdapServer(server, options)
  }

  /** Connections that are open. */
  get connections(): number {
    return this.#sockets.size
  }

  #encrypted(socket: Socket): TLSSocket {
    const { cert, key } = this.#options.certificate!
    const secured = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext({ cert, key }) })
    secured.on('error', () => {})
    return secured
  }

  #serve(socket: Socket, isEncrypted: boolean): void {
    let bytes: Buffer = Buffer.alloc(0)
    let user = ''
    const note = (text: string): void => void this.asked.push(`${isEncrypted ? 'tls: ' : ''}${text}`)
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk])
      for (let whole = element(bytes); whole !== undefined; whole = element(bytes)) {
        bytes = bytes.subarray(whole.length)
        const [id, operation] = whole.element.parts as [Element, Element]
        const answer = (tag: number, ...parts: Buffer[]): void => {
          socket.write(tlv(0x30, tlv(0x02, id.body), tlv(tag, ...parts)))
        }
        switch (operation.tag) {
          case 0x60: {
            const [dn, password] = [operation.parts[1]!.body.toString(), operation.parts[2]!.body.toString()]
            note(`bind ${dn}`)
            if (this.#options.silentOn === 'bind') break
            const result = this.#bind(dn, password)
            user = result === code.success ? dn : ''
            answer(0x61, ...outcome(result))
            break
          }
          case 0x63: {
            const [base, scope, , , , , filter] = operation.parts as readonly Element[]
            note(`search ${base!.body} ${['base', 'one', 'sub'][scope!.body[0]!]} ${filterText(filter!)}`)
            if (this.#options.silentOn === 'search') break
            if (user === '' && this.#options.entries?.some((entry) => entry.dn === 'cn=reader')) {
              answer(0x65, ...outcome(code.insufficientAccess))
              break
            }
            for (const entry of this.#options.entries ?? []) {
              if (matches(entry, filter!)) answer(0x64, octets(entry.dn), tlv(0x30))
            }
            answer(0x65, ...outcome(code.success))
            break
          }
          case 0x77:
            note('startTls')
            if (this.#options.silentOn === 'startTls') break
            if (this.#options.certificate === undefined) {
              answer(0x78, ...outcome(code.protocolError))
              break
            }
            if (this.#options.injected === undefined) answer(0x78, ...outcome(code.success))
            else socket.write(Buffer.concat([reply(id, 0x78, ...outcome(code.success)), this.#options.injected]))
            socket.off('data', onData)
            this.#serve(this.#encrypted(socket), true)
            break
          default:
            socket.end()
        }
      }
    }
    socket.on('data', onData)
  }

  #bind(dn: string, password: string): number {
    if (dn === '' || password === '') return code.success // as nobody: RFC 4513 section 5.1
    const entry = this.#options.entries?.find((one) => one.dn === dn)
    return entry?.password === password ? code.success : code.invalidCredentials
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function element(bytes: Buffer, at = 0): { readonly element: Element; readonly length: number } | undefined {
  if (bytes.length < at + 2) return undefined
  const first = bytes[at + 1]!
  const sizeBytes = first < 0x80 ? 0 : first & 0x7f
  if (bytes.length < at + 2 + sizeBytes) return undefined
  const size = sizeBytes === 0 ? first : bytes.readUIntBE(at + 2, sizeBytes)
  const start = at + 2 + sizeBytes
  if (bytes.length < start + size) return undefined
  const tag = bytes[at]!
  const body = bytes.subarray(start, start + size)
  const parts: Element[] = []
  if ((tag & 0x20) !== 0) {
    for (let next = 0; next < body.length; ) {
      const part = element(body, next)!
      parts.push(part.element)
      next += part.length
    }
  }
  return { element: { tag, body, parts }, length: 2 + sizeBytes + size }
}

/** Lengths of constructed elements take four bytes, as in Active Directory. */
function tlv(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content)
  const { length } = body
  const size = (tag & 0x20) === 0 ? [length] : [0x84, 0, 0, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), body])
}

function reply(id: Element, tag: number, ...parts: Buffer[]): Buffer {
  return tlv(0x30, tlv(0x02, id.body), tlv(tag, ...parts))
}

function octets(text: string): Buffer {
  return tlv(0x04, Buffer.from(text))
}

function outcome(result: number): Buffer[] {
  return [tlv(0x0a, Buffer.of(result)), octets(''), octets('')]
}

/** Values as JSON, so that it can be seen where they begin and end. */
function filterText(filter: Element): string {
  const inner = (): string => filter.parts.map(filterText).join('')
  switch (filter.tag) {
    case 0xa0:
      return `(&${inner()})`
    case 0xa1:
      return `(|${inner()})`
    case 0xa3:
      return `(${filter.parts[0]!.body}=${JSON.stringify(filter.parts[1]!.body.toString())})`
    default:
      return `(?${filter.tag.toString(16)})`
  }
}

function matches(entry: Entry, filter: Element): boolean {
  switch (filter.tag) {
    case 0xa0:
      return filter.parts.every((part) => matches(entry, part))
    case 0xa1:
      return filter.parts.some((part) => matches(entry, part))
    case 0xa3:
      return entry.attributes?.[filter.parts[0]!.body.toString()] === filter.parts[1]!.body.toString()
    default:
      return false
  }
}
