// The certificates and keys of both sides, read whole before any of them is used.

import { createHash, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { SecureContext } from 'node:tls'
import { checkTlsSettings } from '../config/checks.js'
import { mustEncrypt, type SslMode, type SslNegotiation } from '../config/choices.js'
import { ConfigError, describePlace, quoted, systemReason } from '../config/config-error.js'
import type { DatabaseConfig } from '../config/databases.js'
import type { Config } from '../config/load.js'
import type { Settings } from '../config/settings.js'
import { endPointBinding } from '../io/end-point-binding.js'
import { makeContext, type TlsMaterial, TlsMaterialError } from '../io/tls.js'

/** For clients that connect to us. */
export interface ClientTls {
  readonly context: SecureContext
  /** `tls-server-end-point` data of our own certificate. */
  readonly binding: Buffer | undefined
  readonly asksCertificate: boolean
  readonly requiresCertificate: boolean
}

/** For our connections to servers. A reload gives the very same object where nothing has changed, in the files neither. */
export interface ServerTls {
  readonly mode: SslMode
  /** Begins with the handshake, without asking first. */
  readonly direct: boolean
  /** Undefined: TLS is off. */
  readonly context: SecureContext | undefined
}

/** What SET says, in pgbouncer's words, where its setting is kept but does not go together with the others yet. */
export const tlsNotApplied = 'TLS settings could not be applied, still using old configuration'

/** Returns whether it is a setting of TLS: `client_tls_sslmode`, `server_tls13_ciphers` and so on. */
export function isOfTls(name: string): boolean {
  return /_tls(13)?_/.test(name)
}

export class TlsFiles {
  /** Undefined: TLS is off. */
  readonly clients: ClientTls | undefined
  readonly warnings: readonly string[]
  readonly #settings: Settings
  readonly #servers: ReadonlyMap<string, ReadServerTls>

  private constructor(
    settings: Settings,
    clients: ClientTls | undefined,
    servers: ReadonlyMap<string, ReadServerTls>,
    warnings: readonly string[],
  ) {
    this.#settings = settings
    this.clients = clients
    this.#servers = servers
    this.warnings = warnings
  }

  /**
   * Reads what a configuration names.
   * @param former what was read before: where nothing is different, its objects stay
   * @throws ConfigError naming the setting whose file can't be read or used
   */
  static async read(config: Config, former?: TlsFiles): Promise<TlsFiles> {
    const { settings } = config
    checkTlsSettings(settings, () => undefined)
    const warnings: string[] = []
    const clients = await readClients(settings, warnings)
    const servers = new Map<string, ReadServerTls>()
    const entries = [...config.databases.values(), ...(config.autodb === undefined ? [] : [config.autodb])]
    for (const entry of entries) {
      const source = sourceOf(settings, entry)
      const key = keyOf(source)
      if (servers.has(key)) continue
      const known = former === undefined ? undefined : former.#servers.get(key)
      servers.set(key, await readServers(settings, source, known, warnings))
    }
    return new TlsFiles(settings, clients, servers, warnings)
  }

  /** Clients by TCP may come by TLS only. */
  get mustEncrypt(): boolean {
    return mustEncrypt(this.#settings.client_tls_sslmode)
  }

  /**
   * How servers of a database of this configuration are connected to.
   * @throws Error for a database of another one
   */
  serversOf(database: DatabaseConfig): ServerTls {
    const tls = this.#servers.get(keyOf(sourceOf(this.#settings, database)))
    if (tls === undefined) throw new Error(`database ${quoted(database.name)} is not configured any more`)
    return tls
  }
}

async function readClients(settings: Settings, warnings: string[]): Promise<ClientTls | undefined> {
  const { client_tls_sslmode: mode, client_tls_ecdhcurve: curve } = settings
  if (mode === 'disable') return undefined
  if (curve === 'none') {
    warnings.push('client_tls_ecdhcurve = none has no effect: TLS 1.3 needs a curve; one is chosen as with auto')
  }
  const cert = await read('client_tls_cert_file', settings.client_tls_cert_file)
  const ca = await read('client_tls_ca_file', settings.client_tls_ca_file)
  const material = {
    ca,
    cert,
    key: await read('client_tls_key_file', settings.client_tls_key_file),
    protocols: settings.client_tls_protocols,
    ciphers: cipherList(settings.client_tls_ciphers),
    tls13Ciphers: settings.client_tls13_ciphers,
    curve: curve === '' || curve === 'none' ? undefined : curve,
  }
  const context = build(material, {
    ca: 'client_tls_ca_file',
    cert: 'client_tls_cert_file',
    key: 'client_tls_key_file',
    protocols: 'client_tls_protocols',
    ciphers: 'client_tls_ciphers',
    tls13Ciphers: 'client_tls13_ciphers',
    curve: 'client_tls_ecdhcurve',
  })
  return {
    context,
    binding: cert && endPointBinding(new X509Certificate(cert)),
    asksCertificate: ca !== undefined,
    requiresCertificate: mode === 'verify-ca' || mode === 'verify-full',
  }
}

/** What decides how a database's servers are connected to, and where a mistake in it is told. */
interface ServerSource {
  readonly sslmode: SslMode
  readonly sslnegotiation: SslNegotiation
  readonly sslrootcert: string
  readonly sslcert: string
  readonly sslkey: string
  readonly isOwn: boolean
  readonly where: string
}

function sourceOf(settings: Settings, { name, tls, place }: Omit<DatabaseConfig, 'dbname'>): ServerSource {
  const { sslmode, sslnegotiation, sslrootcert, sslcert, sslkey } = tls
  return {
    sslmode: sslmode ?? settings.server_tls_sslmode,
    sslnegotiation: sslnegotiation ?? settings.server_tls_sslnegotiation,
    sslrootcert: sslrootcert ?? settings.server_tls_ca_file,
    sslcert: sslcert ?? settings.server_tls_cert_file,
    sslkey: sslkey ?? settings.server_tls_key_file,
    isOwn: Object.keys(tls).length > 0,
    where: `database ${quoted(name)} (${describePlace(place)})`,
  }
}

function keyOf({ sslmode, sslnegotiation, sslrootcert, sslcert, sslkey }: ServerSource): string {
  return JSON.stringify(sslmode === 'disable' ? [sslmode] : [sslmode, sslnegotiation, sslrootcert, sslcert, sslkey])
}

interface ReadServerTls extends ServerTls {
  /** Of all that it was made from. */
  readonly digest: string
}

async function readServers(
  settings: Settings,
  source: ServerSource,
  former: ReadServerTls | undefined,
  warnings: string[],
): Promise<ReadServerTls> {
  const { sslmode: mode, where } = source
  const direct = source.sslnegotiation === 'direct'
  if (mode === 'disable') return former ?? { mode, direct: false, context: undefined, digest: '' }
  if (direct && !mustEncrypt(mode)) {
    throw new ConfigError(`sslnegotiation=direct needs sslmode=require or stronger, not ${mode}: ${where}`)
  }
  // Names in messages: those of the entry where it has its own, those of the settings otherwise.
  const named = (own: string, global: string): string => (source.isOwn ? `${own} of ${where}` : global)
  const names = {
    ca: named('sslrootcert', 'server_tls_ca_file'),
    cert: named('sslcert', 'server_tls_cert_file'),
    key: named('sslkey', 'server_tls_key_file'),
    protocols: 'server_tls_protocols',
    ciphers: 'server_tls_ciphers',
    tls13Ciphers: 'server_tls13_ciphers',
    curve: '',
  }
  const isSystem = source.sslrootcert === '' || source.sslrootcert === 'system'
  if (isSystem && mode === 'verify-ca') {
    warnings.push(`${names.ca} is not set: with verify-ca, any public certificate will do; use verify-full`)
  }
  const material = {
    ca: isSystem ? undefined : await read(names.ca, source.sslrootcert),
    cert: await read(names.cert, source.sslcert),
    key: await read(names.key, source.sslkey),
    protocols: settings.server_tls_protocols,
    ciphers: cipherList(settings.server_tls_ciphers),
    tls13Ciphers: settings.server_tls13_ciphers,
  }
  const digest = digestOf(material)
  if (former?.digest === digest) return former
  return { mode, direct, context: build(material, names), digest }
}

function digestOf(material: TlsMaterial): string {
  return createHash('sha256')
    .update(JSON.stringify(Object.values(material)))
    .digest('base64')
}

function build(material: TlsMaterial, names: Readonly<Record<keyof TlsMaterial, string>>): SecureContext {
  try {
    return makeContext(material)
  } catch (error) {
    if (!(error instanceof TlsMaterialError)) throw error
    throw new ConfigError(`TLS setup failed: ${names[error.part]}: ${error.message}`)
  }
}

async function read(name: string, file: string): Promise<Buffer | undefined> {
  if (file === '') return undefined
  return readFile(file).catch((error: unknown) => {
    throw new ConfigError(`could not open ${name} ${file}: ${systemReason(error)}`)
  })
}

/** pgbouncer's words for lists (libtls): all but `all` mean a sound default, which is Node's own. */
function cipherList(text: string): string | undefined {
  switch (text) {
    case '':
    case 'default':
    case 'secure':
    case 'fast':
    case 'normal':
      return undefined
    case 'all':
      return 'ALL:!aNULL:!eNULL'
    default:
      return text
  }
}
