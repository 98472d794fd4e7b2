// Whom an LDAP client trusts over TLS, as OpenLDAP's library does by the TLS_ options of ldap.conf(5).

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type SecureVersion,
} from 'node:tls'

/** How connections to directories are made; for tls.connect. */
export interface LdapTrust {
  readonly secureContext: SecureContext
  /** A certificate that is not good ends the connection. */
  readonly rejectUnauthorized: boolean
  readonly checkServerIdentity: (host: string, certificate: PeerCertificate) => Error | undefined
}

type Conf = ReadonlyMap<string, string>

const levels = ['never', 'allow', 'try', 'demand', 'hard'] as const
type Level = (typeof levels)[number]

/** What the library would take for more than it is worth here, or has no need of. */
const withoutEffect = ['TLS_CIPHER_SUITE', 'TLS_ECNAME', 'TLS_RANDFILE']

/** What is to be told of TLS_ options: those that have no effect, and values that are none, which the library passes over. */
export function warningsOf(conf: Conf): string[] {
  const odd = ['TLS_REQCERT', 'TLS_REQSAN'].filter((name) => conf.has(name) && levelOf(conf, name) === undefined)
  return [
    ...withoutEffect.filter((name) => conf.has(name)).map((name) => `${name} of ldap.conf has no effect`),
    ...odd.map((name) => `${name} of ldap.conf is none of ${levels.join(', ')}, and has no effect`),
  ]
}

/** One for each reading of the configuration: the files are read when they are first needed, and kept. */
export class LdapTrusts {
  readonly #conf: Conf
  readonly #made = new Map<string, Promise<LdapTrust>>()

  constructor(conf: Conf) {
    this.#conf = conf
  }

  /**
   * @param caFile option ldaptlscacert: authorities in place of those of ldap.conf, and certificates are checked against them
   *   whatever TLS_REQCERT says
   * @throws Error that names the option whose file can't be read or used
   */
  of(caFile: string | undefined): Promise<LdapTrust> {
    const key = caFile ?? ''
    const made = this.#made.get(key) ?? makeTrust(this.#conf, caFile)
    this.#made.set(key, made)
    made.catch(() => this.#made.delete(key)) // the file may be there the next time
    return made
  }
}

async function makeTrust(conf: Conf, caFile: string | undefined): Promise<LdapTrust> {
  refuseUnknownChecks(conf)
  const required = levelOf(conf, 'TLS_REQCERT') ?? 'demand'
  const ca = caFile === undefined ? await authorities(conf) : [await read('ldaptlscacert', caFile)]
  const [cert, key, crl] = await Promise.all(
    ['TLS_CERT', 'TLS_KEY', 'TLS_CRLFILE'].map((name) => readOption(conf, name)),
  )
  const options = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(crl !== undefined && { crl }),
    ...minVersion(conf.get('TLS_PROTOCOL_MIN')),
  }
  const sanRule = levelOf(conf, 'TLS_REQSAN') ?? 'allow'
  return {
    secureContext: createSecureContext(options),
    rejectUnauthorized: caFile !== undefined || (required !== 'never' && required !== 'allow'),
    checkServerIdentity: (host, certificate) => checkIdentity(host, certificate, sanRule),
  }
}

/** What would have to be checked and is not: better no connection than a weaker one. */
function refuseUnknownChecks(conf: Conf): void {
  if (conf.has('TLS_PEERKEY_HASH')) throw new Error('TLS_PEERKEY_HASH of ldap.conf is not supported')
  const crlCheck = conf.get('TLS_CRLCHECK')?.toLowerCase() ?? 'none'
  if (crlCheck !== 'none' && !conf.has('TLS_CRLFILE')) {
    throw new Error('TLS_CRLCHECK of ldap.conf needs TLS_CRLFILE here')
  }
}

function levelOf(conf: Conf, name: string): Level | undefined {
  const word = conf.get(name)?.toLowerCase()
  return levels.find((level) => level === word)
}

/** Of TLS_CACERT and TLS_CACERTDIR together; undefined where neither is set: those that Node.js knows. */
async function authorities(conf: Conf): Promise<Buffer[] | undefined> {
  const file = await readOption(conf, 'TLS_CACERT')
  const folder = conf.get('TLS_CACERTDIR')
  if (folder === undefined) return file && [file]
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`could not open TLS_CACERTDIR ${folder}: ${error.code ?? error.message}`)
  })
  const contents = await Promise.all(names.map((name) => readFile(join(folder, name)).catch(() => undefined)))
  // Others may lie there, too: keys, lists of revoked certificates, a README.
  const certificates = contents.filter((content) => content?.includes('-----BEGIN CERTIFICATE-----'))
  return [...(file === undefined ? [] : [file]), ...(certificates as Buffer[])]
}

async function readOption(conf: Conf, name: string): Promise<Buffer | undefined> {
  const path = conf.get(name)
  return path === undefined ? undefined : read(name, path)
}

async function read(name: string, path: string): Promise<Buffer> {
  return readFile(path).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`could not open ${name} ${path}: ${error.code ?? error.message}`)
  })
}

/** `3.3` is TLS 1.2, and what is more than there is means the newest. */
function minVersion(text: string | undefined): { minVersion?: SecureVersion } {
  const [, major = '', minor = '0'] = /^(\d+)(?:\.(\d+))?$/.exec(text ?? '') ?? []
  if (major === '') return {}
  if (Number(major) > 3) return { minVersion: 'TLSv1.3' }
  const versions: readonly SecureVersion[] = ['TLSv1', 'TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']
  return Number(major) < 3 ? {} : { minVersion: versions[Number(minor)] ?? 'TLSv1.3' }
}

/** By TLS_REQSAN: may the common name count where the alternative names do not fit, or are not there? */
function checkIdentity(host: string, certificate: PeerCertificate, rule: Level): Error | undefined {
  const wrong = checkServerIdentity(host, certificate)
  const hasNames = certificate.subjectaltname !== undefined
  if (rule === 'demand' || rule === 'hard') {
    return hasNames ? wrong : new Error('the certificate has no subjectAltName, and TLS_REQSAN demands one')
  }
  if (rule === 'try') return hasNames ? wrong : byCommonName(host, certificate, wrong)
  if (rule === 'never') return byCommonName(host, certificate, wrong ?? new Error('the common name is not the host'))
  return wrong && byCommonName(host, certificate, wrong)
}

/** RFC 4513 section 3.1.3.2: a `*` stands for the leftmost label. */
function byCommonName(host: string, { subject }: PeerCertificate, otherwise: Error | undefined): Error | undefined {
  const name = ([subject?.CN] as (string | string[] | undefined)[]).flat().at(-1)?.toLowerCase()
  const wanted = host.toLowerCase()
  const fits =
    name === wanted || (name?.startsWith('*.') === true && name.slice(1) === wanted.slice(wanted.indexOf('.')))
  return fits ? undefined : otherwise
}
