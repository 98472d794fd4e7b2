// Messages of the protocol built and cut in the plainest way: separate from src/ on purpose.

export const z = (text: string): Buffer => Buffer.from(`${text}\0`)
export const i16 = (value: number): Buffer => Buffer.from([(value >> 8) & 255, value & 255])
export const i32 = (value: number): Buffer => Buffer.concat([i16(value >> 16), i16(value)])

export function message(code: string, ...parts: (Buffer | string)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))
  return Buffer.concat([Buffer.from(code), i32(body.length + 4), body])
}

export const query = (text: string): Buffer => message('Q', z(text))
export const parse = (name: string, text: string): Buffer => message('P', z(name), z(text), i16(0))
/** `value`: the one parameter, in full. */
export const bind = (statement: string, portal = '', value = ''): Buffer =>
  message('B', z(portal), z(statement), i16(0), i16(1), i32(value.length), value, i16(0))
export const describe = (kind: 'S' | 'P', name = ''): Buffer => message('D', kind, z(name))
export const execute = (portal = '', most = 0): Buffer => message('E', z(portal), i32(most))
export const close = (kind: 'S' | 'P', name = ''): Buffer => message('C', kind, z(name))
export const functionCall = (text: string): Buffer => message('F', z(text))
export const copyData = (text: string): Buffer => message('d', text)
export const copyFail = (text: string): Buffer => message('f', z(text))
export const copyDone: Buffer = message('c')
export const flush: Buffer = message('H')
export const sync: Buffer = message('S')
export const terminate: Buffer = message('X')

export interface Message {
  readonly code: string
  readonly body: Buffer
}

/** Cuts a stream that ends between two messages. */
export function messagesOf(bytes: Buffer): Message[] {
  const messages: Message[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.length - at < 5 ? Number.NaN : at + 1 + bytes.readUInt32BE(at + 1)
    if (!(end >= at + 5 && end <= bytes.length)) {
      throw new Error(`no message at ${at} of ${bytes.length}: ${bytes.toString('latin1', at, at + 40)}`)
    }
    messages.push({ code: bytes.toString('latin1', at, at + 1), body: bytes.subarray(at + 5, end) })
    at = end
  }
  return messages
}

/** One line for each message. */
export function linesOf(bytes: Buffer): string[] {
  return messagesOf(bytes).map(({ code, body }) => `${code} ${body.toString('latin1').replaceAll('\0', '|')}`.trimEnd())
}
