// The certificates and keys of both sides, read whole before any of them is used.

import { readFile } from 'node:fs/promises'
import type { SecureContext } from 'node:tls'
import { ConfigError } from '../config/config-error.js'
import type { Settings } from '../config/settings.js'
import { makeContext } from '../io/tls.js'

export interface TlsFiles {
  /** For clients that connect to us; undefined: TLS is off. */
  readonly clients: SecureContext | undefined
  /** Our own certificate, for channel binding. */
  readonly certificate: Buffer | undefined
  /** For our connections to servers; undefined: TLS is off. */
  readonly servers: SecureContext | undefined
}

export const noTls: TlsFiles = { clients: undefined, certificate: undefined, servers: undefined }

/** @throws ConfigError naming the setting whose file can't be read or used */
export async function readTlsFiles(settings: Settings): Promise<TlsFiles> {
  const cert = await read('client_tls_cert_file', settings.client_tls_cert_file)
  const clients =
    settings.client_tls_sslmode === 'disable'
      ? undefined
      : build('client_tls_cert_file', {
          ca: await read('client_tls_ca_file', settings.client_tls_ca_file),
          cert,
          key: await read('client_tls_key_file', settings.client_tls_key_file),
          protocols: settings.client_tls_protocols,
          ciphers: cipherList(settings.client_tls_ciphers),
          tls13Ciphers: settings.client_tls13_ciphers,
          curve: curve(settings.client_tls_ecdhcurve),
        })
  const servers =
    settings.server_tls_sslmode === 'disable'
      ? undefined
      : build('server_tls_cert_file', {
          ca: await read('server_tls_ca_file', settings.server_tls_ca_file),
          cert: await read('server_tls_cert_file', settings.server_tls_cert_file),
          key: await read('server_tls_key_file', settings.server_tls_key_file),
          protocols: settings.server_tls_protocols,
          ciphers: cipherList(settings.server_tls_ciphers),
          tls13Ciphers: settings.server_tls13_ciphers,
        })
  return { clients, certificate: clients && cert, servers }
}

function build(name: string, material: Parameters<typeof makeContext>[0]): SecureContext {
  try {
    return makeContext(material)
  } catch (error) {
    throw new ConfigError(`TLS setup failed (${name}): ${(error as Error).message}`)
  }
}

async function read(name: string, file: string | undefined): Promise<Buffer | undefined> {
  if (file === undefined || file === '') return undefined
  return readFile(file).catch((error: Error) => {
    throw new ConfigError(`could not read ${name}: ${error.message}`)
  })
}

/** pgbouncer's words for lists (libtls): all but `all` mean a sound default, which is Node's own. */
function cipherList(text: string | undefined): string | undefined {
  switch (text) {
    case undefined:
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

function curve(text: string | undefined): string | undefined {
  return text === undefined || text === '' || text === 'none' ? undefined : text
}
