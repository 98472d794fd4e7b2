// Certificates made on the spot, byte by byte, so that tests need no openssl: authorities, and what they issue.
// RFC 5280; encodings as in X.690 (DER).

import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'

export interface Issued {
  /** PEM. */
  readonly cert: string
  /** PEM, PKCS #8. */
  readonly key: string
  readonly x509: X509Certificate
}

export interface CertificateOptions {
  /** Several make a subject with several common names. */
  readonly commonName?: string | readonly string[]
  /** DNS names and addresses of the subjectAltName. */
  readonly hosts?: readonly string[]
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** What the certificate may be used for; default: both. */
  readonly usage?: 'server' | 'client'
}

const day = 24 * 3600 * 1000
export const yesterday = (): Date => new Date(Date.now() - day)

/** How a certificate is signed. The keys are made once and shared: they are not what tests are about. */
export type Algorithm = keyof typeof algorithms

const hashes = { sha512: '608648016503040203' }

const algorithms = {
  'ecdsa-sha256': { key: () => ec('P-256'), hash: 'sha256', id: seq(oid('2a8648ce3d040302')) },
  'ecdsa-sha384': { key: () => ec('P-384'), hash: 'sha384', id: seq(oid('2a8648ce3d040303')) },
  'ecdsa-sha1': { key: () => ec('P-256'), hash: 'sha1', id: seq(oid('2a8648ce3d0401')) },
  'rsa-sha1': { key: rsa, hash: 'sha1', id: seq(oid('2a864886f70d010105'), nil()) },
  'rsa-sha256': { key: rsa, hash: 'sha256', id: seq(oid('2a864886f70d01010b'), nil()) },
  'rsa-sha384': { key: rsa, hash: 'sha384', id: seq(oid('2a864886f70d01010c'), nil()) },
  'rsa-pss-sha512': { key: rsa, hash: 'sha512', id: seq(oid('2a864886f70d01010a'), pssParameters('sha512')) },
  ed25519: { key: () => pair('ed25519'), hash: undefined, id: seq(oid('2b6570')) },
} as const

export class Authority {
  readonly cert: string
  readonly #name: Buffer
  readonly #key: KeyObject
  readonly #algorithm: Algorithm

  constructor(commonName: string, algorithm: Algorithm = 'ecdsa-sha256') {
    const keys = algorithms[algorithm].key()
    this.#algorithm = algorithm
    this.#key = keys.privateKey
    this.#name = name([commonName])
    const constraints = extension('551d13', seq(tlv(0x01, Buffer.of(0xff))), true) // CA: true
    const valid = { notBefore: yesterday(), notAfter: new Date(Date.now() + 30 * day) }
    this.cert = this.#make(this.#name, keys.publicKey, valid, [constraints]).cert
  }

  issue(options: CertificateOptions = {}): Issued {
    const { commonName = 'localhost', hosts = [], notBefore = yesterday(), usage } = options
    const notAfter = options.notAfter ?? new Date(Date.now() + 30 * day)
    const keys = algorithms[this.#algorithm].key()
    const extensions: Buffer[] = []
    if (hosts.length > 0) extensions.push(extension('551d11', seq(...hosts.map(alternativeName))))
    if (usage) extensions.push(extension('551d25', seq(oid(`2b0601050507030${usage === 'server' ? 1 : 2}`))))
    const subject = name(typeof commonName === 'string' ? [commonName] : commonName)
    const made = this.#make(subject, keys.publicKey, { notBefore, notAfter }, extensions)
    return { ...made, key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string }
  }

  #make(
    subject: Buffer,
    publicKey: KeyObject,
    valid: { readonly notBefore: Date; readonly notAfter: Date },
    extensions: readonly Buffer[],
  ): Omit<Issued, 'key'> {
    const { id, hash } = algorithms[this.#algorithm]
    const unsigned = seq(
      tlv(0xa0, integer(Buffer.of(2))), // version 3
      integer(Buffer.concat([Buffer.of(1), randomBytes(8)])),
      id,
      this.#name,
      seq(time(valid.notBefore), time(valid.notAfter)),
      subject,
      publicKey.export({ type: 'spki', format: 'der' }),
      ...(extensions.length > 0 ? [tlv(0xa3, seq(...extensions))] : []),
    )
    const der = seq(unsigned, id, bits(sign(hash, unsigned, this.#signer())))
    const x509 = new X509Certificate(der)
    return { cert: x509.toString(), x509 }
  }

  #signer() {
    return this.#algorithm === 'rsa-pss-sha512' ? { key: this.#key, padding: 6, saltLength: 64 } : this.#key
  }
}

interface Keys {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

function pair(type: 'ed25519'): Keys {
  return generateKeyPairSync(type)
}

function ec(namedCurve: string): Keys {
  return generateKeyPairSync('ec', { namedCurve })
}

let rsaKeys: Keys | undefined

/** These take long to make. */
function rsa(): Keys {
  rsaKeys ??= generateKeyPairSync('rsa', { modulusLength: 2048 })
  return rsaKeys
}

function tlv(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content)
  const { length } = body
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...size), body])
}

function seq(...content: Buffer[]): Buffer {
  return tlv(0x30, ...content)
}

function oid(hex: string): Buffer {
  return tlv(0x06, Buffer.from(hex, 'hex'))
}

function nil(): Buffer {
  return tlv(0x05)
}

function integer(bytes: Buffer): Buffer {
  return tlv(0x02, bytes)
}

function bits(bytes: Buffer): Buffer {
  return tlv(0x03, Buffer.of(0), bytes)
}

/** UTCTime, good until 2049. */
function time(date: Date): Buffer {
  return tlv(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`))
}

function name(commonNames: readonly string[]): Buffer {
  return seq(...commonNames.map((text) => tlv(0x31, seq(oid('550403'), tlv(0x0c, Buffer.from(text))))))
}

function alternativeName(host: string): Buffer {
  return isIP(host) === 4 ? tlv(0x87, Buffer.from(host.split('.').map(Number))) : tlv(0x82, Buffer.from(host))
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  return seq(oid(id), ...(critical ? [tlv(0x01, Buffer.of(0xff))] : []), tlv(0x04, value))
}

function pssParameters(hash: keyof typeof hashes): Buffer {
  const algorithm = seq(oid(hashes[hash]), nil())
  const mask = seq(oid('2a864886f70d010108'), algorithm)
  return seq(tlv(0xa0, algorithm), tlv(0xa1, mask), tlv(0xa2, integer(Buffer.of(64))))
}
