// What PostgreSQL makes of the values in a startup packet, where that can be told without a server: as it would report them.

import { bytesOf } from '../protocol/byte-text.js'
import type { ParameterSet } from '../relay/parameters.js'

/** What is known of the servers that the client is going to use. */
export interface Usual {
  readonly reported: ReadonlyMap<string, string>
  readonly defaults: ParameterSet
}

/**
 * The value as PostgreSQL would report it; undefined where only a server can tell.
 * @param name in lower case
 */
export function canonicalValue(name: string, value: string, usual: Usual): string | undefined {
  if (value === usual.defaults.get(name)) return value
  switch (name) {
    case 'application_name':
      return applicationName(value, Number.parseInt(usual.reported.get('server_version') ?? '', 10) >= 16)
    case 'client_encoding':
      return encodings.get(value.replaceAll(/[^a-z\d]/gi, '').toLowerCase())
    case 'datestyle':
      return dateStyle(value, usual.defaults.get(name) ?? 'ISO, MDY')
    case 'default_transaction_read_only':
    case 'standard_conforming_strings':
      return boolean(value)
    case 'intervalstyle':
      return intervalStyles.find((style) => style === value.toLowerCase())
    case 'scram_iterations':
      return integer(value)
    default:
      return undefined
  }
}

/** Longest name that PostgreSQL keeps, bytes (NAMEDATALEN - 1). */
const longestName = 63

/** Cut off between two characters, and with what is not printable ASCII written otherwise (pg_clean_ascii). */
function applicationName(value: string, isHex: boolean): string {
  const bytes = bytesOf(value)
  let end = Math.min(bytes.length, longestName)
  while (end < bytes.length && end > 0 && (bytes[end]! & 0xc0) === 0x80) end--
  let name = ''
  for (const byte of bytes.subarray(0, end)) {
    if (byte >= 0x20 && byte < 0x7f) name += String.fromCharCode(byte)
    else name += isHex ? `\\x${byte.toString(16).padStart(2, '0')}` : '?'
  }
  return name
}

/** Any beginning of a word that is no beginning of another, as parse_bool has it. */
function boolean(value: string): string | undefined {
  if (/^(?:t|tr|tru|true|y|ye|yes|on|1)$/i.test(value)) return 'on'
  return /^(?:f|fa|fal|fals|false|n|no|of|off|0)$/i.test(value) ? 'off' : undefined
}

/** A plain decimal number, at least 1. */
function integer(value: string): string | undefined {
  const number = /^[1-9]\d{0,9}$/.test(value) ? Number(value) : 0
  return number >= 1 && number <= 0x7fffffff ? value : undefined
}

const intervalStyles = ['postgres', 'postgres_verbose', 'sql_standard', 'iso_8601']

/** Style and order, what is missing as in the default (check_datestyle). */
function dateStyle(value: string, usual: string): string | undefined {
  let style: string | undefined
  let order: string | undefined
  let isGerman = false
  for (const part of value.split(',')) {
    const word = part.trim().toLowerCase()
    if (word === 'default' || value.trim() === '') continue
    const nextStyle = styleOf(word)
    const nextOrder = orderOf(word)
    if (nextStyle === undefined && nextOrder === undefined) return undefined
    if ((nextStyle ?? style) !== (style ?? nextStyle)) return undefined // conflicting
    if ((nextOrder ?? order) !== (order ?? nextOrder)) return undefined
    style ??= nextStyle
    order ??= nextOrder
    isGerman ||= word === 'german'
  }
  const [usualStyle, usualOrder] = usual.split(', ')
  return `${style ?? usualStyle}, ${order ?? (isGerman ? 'DMY' : usualOrder)}`
}

function styleOf(word: string): string | undefined {
  if (word.startsWith('postgres')) return 'Postgres'
  return { iso: 'ISO', sql: 'SQL', german: 'German' }[word]
}

function orderOf(word: string): string | undefined {
  if (word === 'dmy' || word.startsWith('euro')) return 'DMY'
  if (word === 'mdy' || word === 'us' || word.startsWith('noneuro')) return 'MDY'
  return word === 'ymd' ? 'YMD' : undefined
}

/** The names that pg_char_to_encoding knows, and pg_encoding_to_char's for each. */
const encodings = new Map(
  [
    'BIG5 big5 win950 windows950',
    'EUC_CN euccn',
    'EUC_JIS_2004 eucjis2004',
    'EUC_JP eucjp',
    'EUC_KR euckr',
    'EUC_TW euctw',
    'GB18030 gb18030',
    'GBK gbk win936 windows936',
    'ISO_8859_5 iso88595',
    'ISO_8859_6 iso88596',
    'ISO_8859_7 iso88597',
    'ISO_8859_8 iso88598',
    'JOHAB johab',
    'KOI8R koi8 koi8r',
    'KOI8U koi8u',
    'LATIN1 iso88591 latin1',
    'LATIN2 iso88592 latin2',
    'LATIN3 iso88593 latin3',
    'LATIN4 iso88594 latin4',
    'LATIN5 iso88599 latin5',
    'LATIN6 iso885910 latin6',
    'LATIN7 iso885913 latin7',
    'LATIN8 iso885914 latin8',
    'LATIN9 iso885915 latin9',
    'LATIN10 iso885916 latin10',
    'MULE_INTERNAL muleinternal',
    'SHIFT_JIS_2004 shiftjis2004',
    'SJIS mskanji shiftjis sjis win932 windows932',
    'SQL_ASCII sqlascii',
    'UHC uhc win949 windows949',
    'UTF8 unicode utf8',
    'WIN866 alt win866 windows866',
    'WIN874 win874 windows874',
    'WIN1250 win1250 windows1250',
    'WIN1251 win win1251 windows1251',
    'WIN1252 win1252 windows1252',
    'WIN1253 win1253 windows1253',
    'WIN1254 win1254 windows1254',
    'WIN1255 win1255 windows1255',
    'WIN1256 win1256 windows1256',
    'WIN1257 win1257 windows1257',
    'WIN1258 abc tcvn tcvn5712 vscii win1258 windows1258',
  ].flatMap((line) => {
    const [encoding, ...names] = line.split(' ')
    return names.map((name) => [name, encoding!] as const)
  }),
)
