// Frontend messages built, and backend messages read, in the plainest way: separate from src/ on purpose.

export interface FrontendMessage {
  readonly code: string
  readonly body: Buffer
}

const z = (text: string): Buffer => Buffer.concat([Buffer.from(text), Buffer.of(0)])
const i16 = (value: number): Buffer => Buffer.from([(value >> 8) & 255, value & 255])
const i32 = (value: number): Buffer => Buffer.concat([i16(value >> 16), i16(value)])
const make = (code: string, ...parts: Buffer[]): FrontendMessage => ({ code, body: Buffer.concat(parts) })

export const query = (text: string): FrontendMessage => make('Q', z(text))
export const parse = (text: string, name = '', types: number[] = []): FrontendMessage =>
  make('P', z(name), z(text), i16(types.length), ...types.map(i32))
export const describe = (kind: 'S' | 'P', name = ''): FrontendMessage => make('D', Buffer.from(kind), z(name))
export const close = (kind: 'S' | 'P', name = ''): FrontendMessage => make('C', Buffer.from(kind), z(name))
export const execute = (portal = '', maxRows = 0): FrontendMessage => make('E', z(portal), i32(maxRows))
export const flush: FrontendMessage = make('H')
export const sync: FrontendMessage = make('S')
export const terminate: FrontendMessage = make('X')

export function bind(
  options: { portal?: string; statement?: string; values?: (string | null)[]; formats?: number[] } = {},
): FrontendMessage {
  const { portal = '', statement = '', values = [], formats = [] } = options
  const parameters = values.map((value) =>
    value === null ? i32(-1) : Buffer.concat([i32(Buffer.byteLength(value)), Buffer.from(value)]),
  )
  const results = [i16(formats.length), ...formats.map(i16)]
  return make('B', z(portal), z(statement), i16(0), i16(values.length), ...parameters, ...results)
}

/** As one command of the extended protocol: Parse, Bind, Describe, Execute, Sync. */
export const extended = (text: string, formats: number[] = []): FrontendMessage[] => [
  parse(text),
  bind({ formats }),
  describe('P'),
  execute(),
  sync,
]

export interface BackendMessage {
  readonly code: string
  readonly body: Buffer
}

/** Cuts a stream of complete messages. */
export function messagesOf(bytes: Buffer): BackendMessage[] {
  const messages: BackendMessage[] = []
  let at = 0
  while (at < bytes.length) {
    const length = bytes.readUInt32BE(at + 1)
    if (length < 4 || at + 1 + length > bytes.length) throw new Error(`bad length ${length} at ${at}`)
    messages.push({ code: String.fromCharCode(bytes.readUInt8(at)), body: bytes.subarray(at + 5, at + 1 + length) })
    at += 1 + length
  }
  return messages
}

export interface ColumnRead {
  readonly name: string
  readonly oid: number
  readonly size: number
  readonly typmod: number
  readonly format: number
}

export function columnsOf({ body }: BackendMessage): ColumnRead[] {
  const columns: ColumnRead[] = []
  let at = 2
  for (let n = 0; n < body.readInt16BE(0); n++) {
    const end = body.indexOf(0, at)
    const name = body.toString('utf8', at, end)
    at = end + 1
    if (body.readInt32BE(at) !== 0 || body.readInt16BE(at + 4) !== 0) throw new Error('expected no table')
    columns.push({
      name,
      oid: body.readInt32BE(at + 6),
      size: body.readInt16BE(at + 10),
      typmod: body.readInt32BE(at + 12),
      format: body.readInt16BE(at + 16),
    })
    at += 18
  }
  if (at !== body.length) throw new Error('bytes left in RowDescription')
  return columns
}

/** The bytes of each column of a DataRow. */
export function cellsOf({ body }: BackendMessage): (Buffer | null)[] {
  const cells: (Buffer | null)[] = []
  let at = 2
  for (let n = 0; n < body.readInt16BE(0); n++) {
    const length = body.readInt32BE(at)
    at += 4
    cells.push(length < 0 ? null : body.subarray(at, at + length))
    at += Math.max(length, 0)
  }
  if (at !== body.length) throw new Error('bytes left in DataRow')
  return cells
}

export const textsOf = (message: BackendMessage): (string | null)[] =>
  cellsOf(message).map((cell) => (cell === null ? null : cell.toString()))

/** Fields of an ErrorResponse or NoticeResponse. */
export function fieldsOf({ body }: BackendMessage): Record<string, string> {
  const parts = body.toString().split('\0')
  if (parts.pop() !== '' || parts.pop() !== '') throw new Error('no terminator')
  return Object.fromEntries(parts.map((part) => [part.slice(0, 1), part.slice(1)]))
}

/** One line for each message: `C SHOW`, `E ERROR 08P01 text`, `D a|b`, `Z I`. */
export function linesOf(bytes: Buffer): string[] {
  return messagesOf(bytes).map((message) => {
    const { code, body } = message
    switch (code) {
      case 'C':
        return `C ${body.toString('utf8', 0, body.length - 1)}`
      case 'Z':
        return `Z ${body.toString()}`
      case 'D':
        return `D ${textsOf(message).join('|')}`
      case 'T':
        return `T ${columnsOf(message)
          .map((column) => column.name)
          .join('|')}`
      case 'E':
      case 'N': {
        const { S, C, M } = fieldsOf(message)
        return `${code} ${S} ${C} ${M}`
      }
      default:
        return code
    }
  })
}
