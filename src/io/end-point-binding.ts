// `tls-server-end-point` channel binding: the hash of a server's certificate, by the hash function of its signature.
// RFC 5929 section 4.1; the encodings are those of RFC 5280 and RFC 4055.

import { createHash, type X509Certificate } from 'node:crypto'

type Hash = 'sha224' | 'sha256' | 'sha384' | 'sha512'

/** MD5 and SHA-1 are replaced by SHA-256. */
const hashOfSignature = new Map<string, Hash>([
  ['2a864886f70d010104', 'sha256'], // md5WithRSAEncryption
  ['2a864886f70d010105', 'sha256'], // sha1WithRSAEncryption
  ['2a864886f70d01010e', 'sha224'], // sha224WithRSAEncryption, and so on
  ['2a864886f70d01010b', 'sha256'],
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2a8648ce3d0401', 'sha256'], // ecdsa-with-SHA1
  ['2a8648ce3d040301', 'sha224'], // ecdsa-with-SHA224, and so on
  ['2a8648ce3d040302', 'sha256'],
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
  ['2a8648ce380403', 'sha256'], // dsa-with-sha1
  ['608648016503040301', 'sha224'], // dsa-with-sha224
  ['608648016503040302', 'sha256'], // dsa-with-sha256
])

const rsassaPss = '2a864886f70d01010a'

const hashOfPss = new Map<string, Hash>([
  ['608648016503040204', 'sha224'],
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
])

/** Undefined for a signature without a hash function of its own, such as Ed25519: nothing is defined for these. */
export function endPointBinding({ raw }: Pick<X509Certificate, 'raw'>): Buffer | undefined {
  const hash = signatureHash(raw)
  return hash === undefined ? undefined : createHash(hash).update(raw).digest()
}

function signatureHash(certificate: Buffer): Hash | undefined {
  const toBeSigned = step(certificate, step(certificate, 0).start)
  const algorithm = step(certificate, toBeSigned.end)
  const id = step(certificate, algorithm.start)
  const name = certificate.toString('hex', id.start, id.end)
  if (name !== rsassaPss) return hashOfSignature.get(name)
  const parameters = step(certificate, id.end)
  const first = step(certificate, parameters.start)
  if (first.tag !== 0xa0) return 'sha256' // left out: SHA-1
  const hash = step(certificate, step(certificate, first.start).start)
  return hashOfPss.get(certificate.toString('hex', hash.start, hash.end)) ?? 'sha256'
}

/** The element that begins at `at`: its tag, and where its content is. OpenSSL has parsed the whole before. */
function step(der: Buffer, at: number): { readonly tag: number; readonly start: number; readonly end: number } {
  const tag = der[at] ?? 0
  const first = der[at + 1] ?? 0
  const sizeBytes = first < 0x80 ? 0 : first & 0x07
  const start = at + 2 + sizeBytes
  const length = sizeBytes === 0 ? first : der.readUIntBE(at + 2, sizeBytes)
  return { tag, start, end: start + length }
}
