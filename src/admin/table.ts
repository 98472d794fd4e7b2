// A SHOW as a table definition, and the one place where its rows become RowDescription and DataRow messages.

import type { Config } from '../config/load.js'
import type { Administration } from '../control/status.js'
import { DataRow, rowDescription } from '../protocol/backend.js'
import { bytesOf, isUtf8Text } from '../protocol/byte-text.js'

/** Format codes of result columns. https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES */
export type Format = 0 | 1

type Cell = string | number | Date | null
export type Row = readonly Cell[]

export interface ColumnType<Value> {
  /** PostgreSQL's name of the type, for the documentation. */
  readonly name: string
  readonly oid: number
  /** Bytes of a value, or -1 where it varies. */
  readonly size: number
  text(value: Value): string
  binary(value: Value): Buffer
}

export const text: ColumnType<string> = {
  name: 'text',
  oid: 25,
  size: -1,
  text: (value) => value,
  binary: bytesOf,
}

/** A time of day as pgbouncer prints it: seconds, local, with the zone; its type is text. */
export const timestamp: ColumnType<Date> = {
  name: 'text',
  oid: 25,
  size: -1,
  text: formatTime,
  binary: (value) => Buffer.from(formatTime(value)),
}

export const int4: ColumnType<number> = {
  name: 'int4',
  oid: 23,
  size: 4,
  text: (value) => String(saturate(value)),
  binary(value) {
    const bytes = Buffer.allocUnsafe(4)
    bytes.writeInt32BE(saturate(value))
    return bytes
  },
}

export const int8: ColumnType<number> = {
  name: 'int8',
  oid: 20,
  size: 8,
  text: (value) => String(whole(value)),
  binary(value) {
    const bytes = Buffer.allocUnsafe(8)
    bytes.writeBigInt64BE(BigInt.asIntN(64, whole(value)))
    return bytes
  },
}

/** Whole numbers only: counters and averages, as pgbouncer shows them. */
export const numeric: ColumnType<number> = {
  name: 'numeric',
  oid: 1700,
  size: -1,
  text: (value) => String(whole(value)),
  binary: (value) => numericBinary(whole(value)),
}

type ColumnOf<Item, Value> = readonly [
  name: string,
  type: ColumnType<Value>,
  value: (item: Item) => Value | null | undefined,
]
export type ColumnDefinition<Item> = ColumnOf<Item, string> | ColumnOf<Item, number> | ColumnOf<Item, Date>

interface Column {
  readonly name: string
  readonly type: ColumnType<never>
}

/** `Shown` is what `rowsOf` makes of a row, for the compiler alone. */
export interface Table<Name extends string = string, Shown extends object = object> {
  /** What follows SHOW. */
  readonly name: Name
  readonly shown?: Shown
  readonly columns: readonly Column[]
  rows(administration: Administration): Row[]
  /** As it is shown under this configuration: with columns of our own where a setting of our own is used. */
  under(config: Config): Table<Name, Shown>
}

/** Columns that pgbouncer does not have, behind those that it has. */
interface OwnColumns<Columns> {
  readonly isShown: (config: Config) => boolean
  readonly columns: Columns
}

/** What a column's function gives is what programs get; nothing is null. */
type CellOf<Column> = Column extends readonly [string, unknown, (item: never) => infer Value]
  ? Exclude<Value, undefined> | (undefined extends Value ? null : never)
  : never

type ShownBy<Columns extends readonly ColumnDefinition<never>[]> = {
  readonly [Column in Columns[number] as Column[0]]: CellOf<Column>
}

/** For columns that several tables share: keeps their names for the compiler. */
export function columnsOf<Item>() {
  return <const Columns extends readonly ColumnDefinition<Item>[]>(columns: Columns): Columns => columns
}

/** pgbouncer keeps its lists in the order of names, byte by byte. */
export function byName<Item>(items: readonly Item[], ...names: readonly ((item: Item) => string)[]): Item[] {
  return [...items].sort((one, other) => {
    for (const name of names) if (name(one) !== name(other)) return name(one) < name(other) ? -1 : 1
    return 0
  })
}

/** Name, type and value of each column; `items` gives one item a row. */
export function defineTable<
  const Name extends string,
  Item,
  const Columns extends readonly ColumnDefinition<Item>[],
  const Own extends readonly ColumnDefinition<Item>[] = readonly [],
>(
  name: Name,
  items: (administration: Administration) => readonly Item[],
  columns: Columns,
  own?: OwnColumns<Own>,
): Table<Name, ShownBy<Columns> & Partial<ShownBy<Own>>> {
  const table: Table<Name, ShownBy<Columns> & Partial<ShownBy<Own>>> = {
    name,
    columns: columns.map(([name, type]) => ({ name, type })),
    rows: (administration) => items(administration).map((item) => columns.map(([, , value]) => value(item) ?? null)),
    under: (config) => (own?.isShown(config) ? wide : table),
  }
  const all: readonly ColumnDefinition<Item>[] = [...columns, ...(own?.columns ?? [])]
  const wide = own === undefined ? table : (defineTable(name, items, all) as typeof table)
  return table
}

/** A time as pgbouncer splits it: a column of whole seconds, and one of the microseconds beyond. */
export function durationColumns<const Name extends string, Item>(name: Name, milliseconds: (item: Item) => number) {
  const microseconds = (item: Item): number => Math.round(milliseconds(item) * 1000)
  return columnsOf<Item>()([
    [name, int4, (item) => Math.trunc(microseconds(item) / 1e6)],
    [`${name}_us`, int4, (item) => microseconds(item) % 1e6],
  ])
}

/** The rows as objects by column name, for programs: numbers (whole ones, as on the console), texts, Dates and nulls. */
export function rowsOf<Shown extends object>(table: Table<string, Shown>, administration: Administration): Shown[] {
  const current = table.under(administration.config())
  const { columns } = current
  return current
    .rows(administration)
    .map((row) => Object.fromEntries(columns.map((column, at) => [column.name, programCell(row[at]!)])) as Shown)
}

/** Not narrowed to 32 bits, as int4 is for clients. */
function programCell(cell: Cell): Cell {
  return typeof cell === 'number' ? Number(whole(cell)) : cell
}

/** `formats`: one for each column, or none, which means text. */
export function describeTable(table: Table, formats: readonly Format[] = []): Buffer {
  return rowDescription(
    table.columns.map(({ name, type }, at) => ({
      name,
      typeOid: type.oid,
      typeSize: type.size,
      format: formats[at] ?? 0,
    })),
  )
}

/** A DataRow. A SHOW CLIENTS may have ten thousand of them, nearly all of which are ASCII: those are written in one go. */
export function encodeRow(table: Table, row: Row, formats: readonly Format[] = []): Buffer {
  return (formats.length === 0 ? encodeAscii(table, row) : undefined) ?? encodeAny(table, row, formats)
}

/** All as text, put together as a string of bytes; undefined where a cell is null or not ASCII. */
function encodeAscii({ columns }: Table, row: Row): Buffer | undefined {
  let body = ''
  for (let at = 0; at < columns.length; at++) {
    const cell = row[at] ?? null
    if (cell === null) return undefined
    const shown = (columns[at]!.type as ColumnType<Cell>).text(cell)
    if (shown.length > 0x7f) return undefined // its length would not be ASCII
    body += `\0\0\0${String.fromCharCode(shown.length)}${shown}`
  }
  if (!ascii.test(body)) return undefined
  const length = 6 + body.length
  const bytes = Buffer.allocUnsafe(1 + length)
  bytes[0] = DataRow
  bytes.writeInt32BE(length, 1)
  bytes.writeInt16BE(columns.length, 5)
  bytes.write(body, 7, 'latin1')
  return bytes
}

/** Lengths are control characters. */
const ascii = /^[\0-\x7f]*$/

function encodeAny(table: Table, row: Row, formats: readonly Format[]): Buffer {
  const cells = table.columns.map(({ type }, at) => {
    const cell = row[at] ?? null
    if (cell === null) return null
    // A cell is what the value function of its own column gave, so it fits the type of that column.
    const own = type as ColumnType<Cell>
    if (formats[at] === 1) return own.binary(cell)
    const shown = own.text(cell)
    return isUtf8Text(shown) ? shown : bytesOf(shown)
  })
  const room = cells.reduce((sum, cell) => sum + 4 + mostBytes(cell), 7)
  const bytes = Buffer.allocUnsafe(room)
  let at = 7
  for (const cell of cells) {
    const length = cell === null ? -1 : typeof cell === 'string' ? bytes.write(cell, at + 4) : cell.copy(bytes, at + 4)
    at = bytes.writeInt32BE(length, at) + Math.max(length, 0)
  }
  bytes.writeUInt8(DataRow, 0)
  bytes.writeInt32BE(at - 1, 1)
  bytes.writeInt16BE(cells.length, 5)
  return bytes.subarray(0, at)
}

/** UTF-8 takes at most 3 bytes for a unit of a string. */
function mostBytes(cell: Buffer | string | null): number {
  if (cell === null) return 0
  return typeof cell === 'string' ? cell.length * 3 : cell.length
}

/** int4 columns that pgbouncer lets overflow stay at the limit: a driver could not read more. */
function saturate(value: number): number {
  return Math.min(Math.max(Math.trunc(value) || 0, -(2 ** 31)), 2 ** 31 - 1)
}

function whole(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n
}

/** Digit count, weight of the first digit, sign, scale, digits; all int16, the digits to base 10,000 (numeric_send). */
function numericBinary(value: bigint): Buffer {
  const digits: number[] = []
  for (let rest = value < 0n ? -value : value; rest > 0n; rest /= 10_000n) digits.unshift(Number(rest % 10_000n))
  const weight = Math.max(digits.length - 1, 0)
  while (digits.at(-1) === 0) digits.pop()
  const bytes = Buffer.alloc(8 + 2 * digits.length)
  for (const [at, word] of [digits.length, weight, value < 0n ? 0x4000 : 0, 0, ...digits].entries()) {
    bytes.writeUInt16BE(word, 2 * at)
  }
  return bytes
}

function formatTime(time: Date): string {
  const two = (part: number): string => String(part).padStart(2, '0')
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())} ${zoneName(time)}`
}

const zoneNames = new Map<number, string>()
const zoneFormat = new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' })

/** `UTC`, `EST`; where there is no such name, the offset as in ISO 8601 (`+01`, `+0530`), never `GMT+1`. */
function zoneName(time: Date): string {
  const offset = -time.getTimezoneOffset()
  let name = zoneNames.get(offset)
  if (name === undefined) {
    name = zoneFormat.formatToParts(time).find((part) => part.type === 'timeZoneName')?.value ?? ''
    if (!/^[A-Z]{2,5}$/.test(name)) {
      const [hours, minutes] = [Math.trunc(Math.abs(offset) / 60), Math.abs(offset) % 60]
      const two = (part: number): string => String(part).padStart(2, '0')
      name = `${offset < 0 ? '-' : '+'}${two(hours)}${minutes === 0 ? '' : two(minutes)}`
    }
    zoneNames.set(offset, name)
  }
  return name
}
