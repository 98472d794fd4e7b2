// The options of HBA method ldap and of auth_ldap_options: which directory is asked, and how a user is found there.
// https://www.postgresql.org/docs/current/auth-ldap.html

import { isIP } from 'node:net'
import { InvalidValue } from '../config/config-error.js'
import { Secret } from '../config/secret.js'

export interface LdapOptions {
  /** `ldap://host:port` or `ldaps://host:port`, to be tried in this order. */
  readonly servers: readonly string[]
  /** StartTLS on ldap://. */
  readonly startTls: boolean
  /** File (PEM) of the authorities that server certificates are checked against; undefined: see LdapTrusts. */
  readonly caFile: string | undefined
  readonly mode: LdapSimpleBind | LdapSearch
}

/** The user's entry is named prefix + user + suffix. */
export interface LdapSimpleBind {
  readonly kind: 'simple'
  readonly prefix: string
  readonly suffix: string
}

/** The user's entry is searched for. */
export interface LdapSearch {
  readonly kind: 'search'
  readonly base: string
  readonly scope: 'base' | 'one' | 'sub'
  /** RFC 4515, with `$username` where the name goes. */
  readonly filter: string
  /** Who searches; '' is nobody. */
  readonly bindDn: string
  readonly bindPassword: Secret | undefined
}

/** Names as in pg_hba.conf; the last one is not PostgreSQL's, whose LDAP library has a configuration file of its own. */
const known = [
  ...['ldapserver', 'ldapport', 'ldapscheme', 'ldaptls', 'ldapprefix', 'ldapsuffix', 'ldapbasedn', 'ldapbinddn'],
  ...['ldapbindpasswd', 'ldapsearchattribute', 'ldapsearchfilter', 'ldapscope', 'ldaptlscacert'],
] as const
type Name = (typeof known)[number]
type Given = Partial<Record<Name, string>>

/**
 * Reads `name=value name="value with blanks"`; `#` begins a comment. Messages show no value: one of them is a password.
 * @throws InvalidValue
 */
export function parseLdapOptions(text: string): LdapOptions {
  const given: Given = {}
  for (const [name, value] of pairsOf(text)) {
    if (name === 'ldapurl') Object.assign(given, urlParts(value))
    else if (isKnown(name)) given[name] = value
    else throw new InvalidValue(`unrecognized authentication option name: "${name.slice(0, 60)}"`)
  }
  return Object.freeze({
    servers: Object.freeze(serversOf(given)),
    startTls: isOn(given.ldaptls),
    caFile: given.ldaptlscacert,
    mode: Object.freeze(modeOf(given)),
  })
}

/** `ldapscope` has no option of its own in PostgreSQL: it comes with a URL. */
function isKnown(name: string): name is Name {
  return name !== 'ldapscope' && (known as readonly string[]).includes(name)
}

const pair = /[ \t]*(?:(#.*)|([A-Za-z]+)=((?:"(?:[^"]|"")*"|[^"\s#])*)(?=\s|$|#))/y

function* pairsOf(text: string): Generator<[name: string, value: string]> {
  const line = text.trimEnd()
  pair.lastIndex = 0
  while (pair.lastIndex < line.length) {
    const [, comment, name, value] = pair.exec(line) ?? []
    if (comment !== undefined) return
    if (name === undefined) throw new InvalidValue('LDAP options are not in name=value format')
    yield [name, (value ?? '').replace(/"((?:[^"]|"")*)"/g, (_all, inner: string) => inner.replaceAll('""', '"'))]
  }
}

/** RFC 4516: `ldap[s]://host:port/base?attribute?scope?filter`. */
function urlParts(text: string): Given {
  const [, scheme, host = '', port, base = '', query = ''] =
    /^(ldaps?):\/\/([^/?:[\]]*|\[[^\]/?]*\])(?::(\d+))?(?:\/([^?]*)(?:\?(.*))?)?$/i.exec(text) ?? []
  if (scheme === undefined) throw new InvalidValue('could not parse the LDAP URL')
  const [attribute = '', scope = '', filter = '', extensions] = query.split('?')
  if (extensions !== undefined) throw new InvalidValue('extensions of LDAP URLs are not supported')
  return {
    ldapscheme: scheme.toLowerCase(),
    ldapserver: decode(host),
    ...(port !== undefined && { ldapport: port }),
    ldapbasedn: decode(base),
    ...(attribute !== '' && { ldapsearchattribute: decode(attribute) }),
    ldapscope: scope === '' ? 'base' : scope,
    ...(filter !== '' && { ldapsearchfilter: decode(filter) }),
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new InvalidValue('the LDAP URL has a wrong percent-encoding')
  }
}

function serversOf({ ldapscheme: scheme = 'ldap', ldapserver = '', ldapport: port, ldaptls }: Given): string[] {
  if (scheme !== 'ldap' && scheme !== 'ldaps') throw new InvalidValue('invalid ldapscheme value')
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65536)) {
    throw new InvalidValue('invalid LDAP port number')
  }
  if (scheme === 'ldaps' && isOn(ldaptls)) throw new InvalidValue('ldaptls=1 is for ldap, not for ldaps')
  const hosts = ldapserver.split(/\s+/).filter((host) => host !== '')
  if (hosts.length === 0) throw new InvalidValue('authentication method "ldap" requires ldapserver or ldapurl')
  return hosts.map(
    (host) => `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}${port === undefined ? '' : `:${port}`}`,
  )
}

function isOn(value: string | undefined): boolean {
  if (value === undefined || value === '0' || value === '1') return value === '1'
  throw new InvalidValue('ldaptls is 0 or 1')
}

function modeOf(given: Given): LdapSimpleBind | LdapSearch {
  const { ldapprefix, ldapsuffix, ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter } =
    given
  const hasAffix = ldapprefix !== undefined || ldapsuffix !== undefined
  const search = [ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter]
  if (hasAffix && search.some((value) => value !== undefined && value !== '')) {
    throw new InvalidValue('cannot mix options for simple bind and search+bind modes')
  }
  if (hasAffix) {
    const [prefix, suffix] = [ldapprefix ?? '', ldapsuffix ?? '']
    if (prefix + suffix !== '') return { kind: 'simple', prefix, suffix }
  }
  if (ldapbasedn === undefined || ldapbasedn === '') {
    const text = 'authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set'
    throw new InvalidValue(text)
  }
  if (ldapsearchattribute !== undefined && ldapsearchfilter !== undefined) {
    throw new InvalidValue('cannot use ldapsearchattribute together with ldapsearchfilter')
  }
  return {
    kind: 'search',
    base: ldapbasedn,
    scope: scopeOf(given.ldapscope),
    filter: ldapsearchfilter ?? `(${ldapsearchattribute ?? 'uid'}=$username)`,
    bindDn: ldapbinddn ?? '',
    bindPassword: ldapbindpasswd === undefined ? undefined : new Secret(ldapbindpasswd),
  }
}

function scopeOf(text = 'sub'): 'base' | 'one' | 'sub' {
  const scope = text.toLowerCase()
  if (scope !== 'base' && scope !== 'one' && scope !== 'sub') throw new InvalidValue('the scope is base, one or sub')
  return scope
}
