// auth_ident_file: which system users (of a certificate, of a Unix socket's peer) may log in as which database users.
// https://www.pgbouncer.org/config.html#ident-map-file-format

import { BadLine, type LineTokens, parseLines } from './line-tokens.js'

interface IdentMapping {
  readonly systemUser: string
  /** Undefined: all. */
  readonly databaseUser: string | undefined
}

/** All the lines of one map name. */
export interface IdentMap {
  readonly name: string
  readonly mappings: readonly IdentMapping[]
}

export interface IdentFile {
  readonly maps: ReadonlyMap<string, IdentMap>
  /** For the log. */
  readonly warnings: readonly string[]
}

/**
 * Reads `map-name system-user database-user` lines; a line that can't be read is warned about and skipped.
 * @param file its name, for the warnings
 */
export function parseIdent(text: string, file: string): IdentFile {
  const maps = new Map<string, { name: string; mappings: IdentMapping[] }>()
  const warnings = parseLines(text, 'ident', file, (tokens) => {
    const { name, mapping } = parseMapping(tokens)
    const map = maps.get(name) ?? { name, mappings: [] }
    map.mappings.push(mapping)
    maps.set(name, map)
  })
  return { maps, warnings }
}

function parseMapping(tokens: LineTokens): { name: string; mapping: IdentMapping } {
  const name = tokens.take()
  const systemUser = tokens.take()
  if (name.kind !== 'word' || (systemUser.kind !== 'word' && systemUser.kind !== 'string')) throw new BadLine()
  const all = tokens.takeKeyword('all')
  const databaseUser = all ? undefined : tokens.take()
  if (databaseUser && databaseUser.kind !== 'word' && databaseUser.kind !== 'string') throw new BadLine()
  if (tokens.current.kind !== 'end') throw new BadLine('unsupported parameters')
  return { name: name.text, mapping: { systemUser: systemUser.text, databaseUser: databaseUser?.text } }
}

/** Returns whether this system user may log in as that database user. Without a map, only under the same name. */
export function identAllows(map: IdentMap | undefined, systemUser: string, databaseUser: string): boolean {
  if (map === undefined) return systemUser === databaseUser
  return map.mappings.some(
    (mapping) =>
      mapping.systemUser === systemUser &&
      (mapping.databaseUser === undefined || mapping.databaseUser === databaseUser),
  )
}
