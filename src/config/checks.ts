// What settings must hold between themselves, whatever each of them may be alone.

import { mustEncrypt } from './choices.js'
import { ConfigError, type Place } from './config-error.js'
import type { SettingName, Settings } from './settings.js'

type PlaceOf = (name: SettingName) => Place | undefined
type Mistake = readonly [blamed: SettingName, text: string]

/**
 * All but what checkTlsSettings looks at.
 * @param placeOf where a setting stands, if it stands anywhere
 * @throws ConfigError for the first mistake
 */
export function checkSettings(settings: Settings, placeOf: PlaceOf): void {
  for (const [blamed, text] of mistakes(settings)) throw new ConfigError(text, placeOf(blamed))
}

/**
 * Checks whether the settings of TLS fit together. By SET they come one at a time, and for a while they need not.
 * @throws ConfigError for the first mistake
 */
export function checkTlsSettings(settings: Settings, placeOf: PlaceOf): void {
  for (const [blamed, text] of tlsMistakes(settings)) throw new ConfigError(text, placeOf(blamed))
}

function* mistakes(settings: Settings): Generator<Mistake> {
  const { auth_type: method, client_tls_sslmode: clientMode } = settings
  if (method === 'cert' && clientMode !== 'verify-full') {
    yield ['auth_type', 'auth_type=cert requires client_tls_sslmode=verify-full']
  }
  if (method === 'hba' && settings.auth_hba_file === '') {
    yield ['auth_type', 'auth_type=hba requires auth_hba_file']
  }
  if (method === 'ldap' && settings.auth_ldap_options === undefined) {
    yield ['auth_type', 'auth_type=ldap requires auth_ldap_options']
  }
}

function* tlsMistakes(settings: Settings): Generator<Mistake> {
  const { client_tls_sslmode: clientMode } = settings
  if (clientMode !== 'disable' && (settings.client_tls_key_file === '' || settings.client_tls_cert_file === '')) {
    const text = 'To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set.'
    yield ['client_tls_sslmode', text]
  }
  // Without it the public authorities would be asked, and they certify anybody.
  if ((clientMode === 'verify-ca' || clientMode === 'verify-full') && settings.client_tls_ca_file === '') {
    yield ['client_tls_sslmode', `client_tls_sslmode=${clientMode} requires client_tls_ca_file`]
  }
  if (settings.server_tls_sslnegotiation === 'direct' && !mustEncrypt(settings.server_tls_sslmode)) {
    yield [
      'server_tls_sslnegotiation',
      'server_tls_sslnegotiation=direct requires server_tls_sslmode=require or stronger',
    ]
  }
  if (settings.server_tls_key_file !== '' && settings.server_tls_cert_file === '') {
    yield ['server_tls_key_file', 'server_tls_key_file requires server_tls_cert_file']
  }
  if (settings.server_tls_cert_file !== '' && settings.server_tls_key_file === '') {
    yield ['server_tls_cert_file', 'server_tls_cert_file requires server_tls_key_file']
  }
}
