// A naive client of the wire protocol: builds and reads messages in the plainest way, separate from src/ on purpose.

import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

const z = (text: string | Buffer): Buffer => Buffer.concat([Buffer.from(text as string), Buffer.of(0)])
const i16 = (value: number): Buffer => Buffer.of((value >> 8) & 255, value & 255)
const i32 = (value: number): Buffer => Buffer.concat([i16(value >> 16), i16(value)])

/** A message of either direction. */
export function message(code: string, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from(code), i32(body.length + 4), body])
}

// Names may be bytes: not all clients speak UTF-8.
export const query = (text: string | Buffer): Buffer => message('Q', z(text))
export const parse = (text: string, name: string | Buffer = '', types: number[] = []): Buffer =>
  message('P', z(name), z(text), i16(types.length), ...types.map(i32))
export const describe = (kind: 'S' | 'P', name: string | Buffer = ''): Buffer =>
  message('D', Buffer.from(kind), z(name))
export const close = (kind: 'S' | 'P', name: string | Buffer = ''): Buffer => message('C', Buffer.from(kind), z(name))
export const execute = (portal = '', maxRows = 0): Buffer => message('E', z(portal), i32(maxRows))
export const flush: Buffer = message('H')
export const sync: Buffer = message('S')
export const terminate: Buffer = message('X')
export const copyData = (data: string | Buffer): Buffer => message('d', Buffer.from(data as string))
export const copyDone: Buffer = message('c')
export const copyFail = (reason: string): Buffer => message('f', z(reason))
export const password = (text: string | Buffer): Buffer => message('p', z(text))

/** @param length as claimed, where it is to be another than it is */
export function saslInitialResponse(text: string, length = Buffer.byteLength(text)): Buffer {
  return message('p', z('SCRAM-SHA-256'), i32(length), Buffer.from(text))
}

/** All values as text. */
export function bind(values: (string | null)[] = [], statement: string | Buffer = '', portal = ''): Buffer {
  return message('B', z(portal), z(statement), i16(0), i16(values.length), ...values.map(counted), i16(0))
}

/** Arguments and result as text. */
export function functionCall(oid: number, ...values: (string | null)[]): Buffer {
  return message('F', i32(oid), i16(0), i16(values.length), ...values.map(counted), i16(0))
}

function counted(value: string | null): Buffer {
  return value === null ? i32(-1) : Buffer.concat([i32(Buffer.byteLength(value)), Buffer.from(value)])
}

/** An unnamed statement: Parse, Bind, Describe, Execute, without Sync. */
export const extended = (text: string, values: (string | null)[] = []): Buffer =>
  Buffer.concat([parse(text), bind(values), describe('P'), execute()])

export function startup(parameters: Readonly<Record<string, string | Buffer>>, minor = 0): Buffer {
  const pairs = Object.entries(parameters).flatMap(([name, value]) => [z(name), z(value)])
  const body = Buffer.concat([i16(3), i16(minor), ...pairs, Buffer.of(0)])
  return Buffer.concat([i32(body.length + 4), body])
}

export interface CancelKey {
  readonly pid: number
  readonly secret: Buffer
}

export const cancelRequest = ({ pid, secret }: CancelKey): Buffer =>
  Buffer.concat([i32(12 + secret.length), i16(1234), i16(5678), i32(pid), secret])

/** How the tests see a message: `D a|b`, `C SELECT 1`, `E ERROR 22012 division by zero`, `Z I`, `1`. */
export function lineOf(code: string, body: Buffer): string {
  switch (code) {
    case 'C':
    case 'c':
      return body.length === 0 ? code : `${code} ${body.toString('utf8', 0, body.length - 1)}`
    case 'D':
      return `D ${cells(body, 2, body.readInt16BE(0)).join('|')}`
    case 'V':
      return `V ${cells(body, 0, 1).join('|')}`
    case 'T':
      return `T ${columnNames(body).join('|')}`
    case 't':
      return `t ${Array.from({ length: body.readInt16BE(0) }, (_, n) => body.readInt32BE(2 + 4 * n)).join('|')}`
    case 'E':
    case 'N': {
      const fields = reportFields(body)
      return `${code} ${fields.S} ${fields.C} ${fields.M}`
    }
    case 'S':
      return `S ${body.toString().split('\0', 2).join('=')}`
    case 'Z':
      return `Z ${body.toString()}`
    case 'd':
      return `d ${body.toString()}`
    case 'A':
      return `A ${body.toString('utf8', 4).split('\0', 2).join(' ')}`
    case 'R':
      return `R ${body.readInt32BE(0)}`
    default:
      return code
  }
}

export function reportFields(body: Buffer): Record<string, string> {
  const parts = body.toString().split('\0')
  if (parts.pop() !== '' || parts.pop() !== '') throw new Error('a report without its terminator')
  return Object.fromEntries(parts.map((part) => [part.slice(0, 1), part.slice(1)]))
}

function cells(body: Buffer, start: number, count: number): string[] {
  const found: string[] = []
  let at = start
  for (let n = 0; n < count; n++) {
    const length = body.readInt32BE(at)
    at += 4
    found.push(length < 0 ? '(null)' : body.toString('utf8', at, at + length))
    at += Math.max(0, length)
  }
  if (at !== body.length) throw new Error('bytes left over behind the last column')
  return found
}

function columnNames(body: Buffer): string[] {
  const names: string[] = []
  let at = 2
  for (let n = 0; n < body.readInt16BE(0); n++) {
    const end = body.indexOf(0, at)
    names.push(body.toString('utf8', at, end))
    at = end + 19
  }
  return names
}

/** Cuts a stream into messages, however it comes in. */
export class MessageCutter {
  #rest: Buffer = Buffer.alloc(0)

  get isBetweenMessages(): boolean {
    return this.#rest.length === 0
  }

  /** The messages that are complete with this chunk. */
  *take(chunk: Buffer): Generator<{ readonly code: string; readonly body: Buffer }> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (this.#rest.length >= 5) {
      const length = this.#rest.readUInt32BE(1)
      if (length < 4) throw new Error(`a message with length ${length}`)
      if (this.#rest.length < length + 1) return
      const whole = this.#rest.subarray(0, length + 1)
      this.#rest = this.#rest.subarray(length + 1)
      yield { code: String.fromCharCode(whole[0]!), body: whole.subarray(5) }
    }
  }
}

export interface RawLogin {
  readonly host?: string
  readonly port: number
  /** Startup parameters; user and database among them. */
  readonly parameters: Readonly<Record<string, string | Buffer>>
  /** Sent where the other side asks for it in the clear. */
  readonly password?: string | Buffer
  readonly minor?: number
}

/** The other side has closed, with what it said last. */
export class Ended extends Error {
  override readonly name = 'Ended'
}

/** A connection that sends bytes as given, and gives answers as lines, in order. */
export class RawClient {
  readonly stream: Duplex
  /** Resolves when the connection has ended, whoever ended it. */
  readonly ended: Promise<void>
  /** Startup parameters as the other side reported them. */
  readonly reported = new Map<string, string>()
  key: CancelKey = { pid: 0, secret: Buffer.alloc(4) }
  readonly #cutter = new MessageCutter()
  #lines: string[] = []
  #bodies: Buffer[] = []
  #wake: () => void = () => {}
  #isOver = false
  #last = ''

  constructor(stream: Duplex) {
    this.stream = stream
    this.ended = new Promise((resolve) => {
      stream.on('close', () => {
        this.#isOver = true
        this.#wake()
        resolve()
      })
    })
    stream.on('error', () => {})
    stream.on('data', (chunk: Buffer) => {
      for (const { code, body } of this.#cutter.take(chunk)) {
        this.#lines.push(lineOf(code, body))
        this.#bodies.push(body)
      }
      this.#wake()
    })
  }

  /** A TCP connection that has said nothing yet. */
  static async open(port: number, host = '127.0.0.1'): Promise<RawClient> {
    const socket = connect({ port, host, noDelay: true })
    const client = new RawClient(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return client
  }

  /** Logged in. Rejects with Ended and the error that the other side told. */
  static async connect(login: RawLogin): Promise<RawClient> {
    const client = await RawClient.open(login.port, login.host)
    await client.logIn(login)
    return client
  }

  async logIn(login: Pick<RawLogin, 'parameters' | 'password' | 'minor'>): Promise<void> {
    this.send(startup(login.parameters, login.minor))
    for (;;) {
      const line = await this.line()
      const body = this.latestBody
      if (line === 'R 3') this.send(password(login.password ?? ''))
      else if (line.startsWith('S ')) this.reported.set(...(line.slice(2).split('=', 2) as [string, string]))
      else if (line === 'K') this.key = { pid: body.readInt32BE(0), secret: Buffer.from(body.subarray(4)) }
      else if (line.startsWith('E ')) throw new Ended(line)
      else if (line.startsWith('Z ')) return
    }
  }

  /** In one write. */
  send(...bytes: Buffer[]): this {
    this.stream.write(bytes.length === 1 ? bytes[0]! : Buffer.concat(bytes))
    return this
  }

  /** The next message. Rejects with Ended when none will come. */
  async line(): Promise<string> {
    while (this.#lines.length === 0) {
      if (this.#isOver) throw new Ended(`the connection has ended${this.#last === '' ? '' : `, after: ${this.#last}`}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.latestBody = this.#bodies.shift()!
    this.#last = this.#lines.shift()!
    return this.#last
  }

  /** Of the message that `line` gave last. */
  latestBody: Buffer = Buffer.alloc(0)

  /** As many messages. */
  async lines(count: number): Promise<string[]> {
    const lines: string[] = []
    while (lines.length < count) lines.push(await this.line())
    return lines
  }

  /** All messages up to the `count`th ReadyForQuery. */
  async answer(count = 1): Promise<string[]> {
    const lines: string[] = []
    for (let left = count; left > 0; ) {
      const line = await this.line()
      lines.push(line)
      if (line.startsWith('Z ')) left--
    }
    return lines
  }

  /** Sends in one write, and gives the answer up to ReadyForQuery. */
  ask(...bytes: Buffer[]): Promise<string[]> {
    return this.send(...bytes).answer()
  }

  /** All messages up to the end of the connection. */
  async toTheEnd(): Promise<string[]> {
    await this.ended
    return this.#lines.splice(0)
  }

  /** What has come and was not asked for yet. */
  get unread(): readonly string[] {
    return this.#lines
  }

  get isBetweenMessages(): boolean {
    return this.#cutter.isBetweenMessages
  }

  /** Gone without a word: a reset where that is possible. */
  vanish(): void {
    if ('resetAndDestroy' in this.stream) (this.stream as Socket).resetAndDestroy()
    else this.stream.destroy()
  }

  /** Terminate, and waits for the end. */
  async end(): Promise<void> {
    this.stream.end(terminate)
    await this.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stream.destroy()
    await this.ended
  }
}

/** Sends a CancelRequest; resolves when the other side has dealt with it. */
export async function cancel(port: number, key: CancelKey): Promise<void> {
  const client = await RawClient.open(port)
  client.send(cancelRequest(key))
  await client.ended
}
