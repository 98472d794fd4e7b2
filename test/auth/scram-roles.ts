// The two roles under test with what most tests leave as it is: user sam, password pencil.

import { expect } from 'vitest'
import { ScramClient, type ScramClientOptions, ScramServer, type ScramServerOptions } from '../../src/auth/scram.js'
import { ScramKeyring } from '../../src/auth/scram-keys.js'
import { ScramError, type ScramFailure } from '../../src/auth/scram-text.js'
import { parseStoredSecret } from '../../src/auth/secrets.js'
import { Secret } from '../../src/config/secret.js'
import { verifierOf } from './scram-peer.js'

export const keyring = new ScramKeyring()
export const salt = Buffer.from('0123456789abcdef')
export const certificate = Buffer.alloc(32, 0xc5)
export const pencil = verifierOf('pencil', salt, 16)

export function newServer(options: Partial<ScramServerOptions> = {}): ScramServer {
  return new ScramServer({ user: 'sam', stored: parseStoredSecret(pencil.text), iterations: 16, keyring, ...options })
}

export function newClient(options: Partial<ScramClientOptions> = {}): ScramClient {
  return new ScramClient({ credential: new Secret('pencil'), mechanisms: ['SCRAM-SHA-256'], keyring, ...options })
}

/** How a step of an exchange fails; fails itself if it does not, or with anything but a ScramError. */
export async function failure(run: () => unknown): Promise<ScramFailure> {
  try {
    await run()
  } catch (error) {
    if (!(error instanceof ScramError)) throw error
    expect(error.message).toMatch(/^[\x20-\x7e]{1,300}$/)
    return error.failure
  }
  throw new Error('no failure')
}
