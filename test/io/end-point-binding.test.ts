// Channel binding data of certificates with every kind of signature, held against what RFC 5929 says.

import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { endPointBinding } from '../../src/io/end-point-binding.js'
import { type Algorithm, Authority } from '../harness/certificates.js'

test.each([
  ['ecdsa-sha256', 'sha256'],
  ['ecdsa-sha384', 'sha384'],
  ['ecdsa-sha1', 'sha256'],
  ['rsa-sha1', 'sha256'],
  ['rsa-sha256', 'sha256'],
  ['rsa-sha384', 'sha384'],
  ['rsa-pss-sha512', 'sha512'],
] satisfies [Algorithm, string][])('a certificate signed with %s is hashed with %s', (algorithm, hash) => {
  const { x509 } = new Authority('an authority', algorithm).issue()
  expect(endPointBinding(x509)).toEqual(createHash(hash).update(x509.raw).digest())
})

test('a signature without a hash function of its own has no binding', () => {
  expect(endPointBinding(new Authority('an authority', 'ed25519').issue().x509)).toBeUndefined()
})
