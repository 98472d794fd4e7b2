// Whom LDAP over TLS trusts: by ldap.conf and LDAPTLS_ variables, as OpenLDAP's own library does.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkLdap } from '../../src/auth/ldap.js'
import { parseLdapOptions } from '../../src/auth/ldap-options.js'
import { LdapTrusts, warningsOf } from '../../src/auth/ldap-trust.js'
import { Secret } from '../../src/config/secret.js'
import { readLdapConf } from '../../src/io/ldap-conf.js'
import type { Issued } from '../harness/certificates.js'
import { LdapServer } from '../harness/ldap-server.js'
import { authority, certified, Folder, ours, stranger, wrongServers } from '../harness/tls.js'
import { dn, hasSlapd, password, Slapd } from './slapd.js'

let files: Folder
beforeAll(async () => {
  const anna = certified('anna')
  files = await Folder.open({
    ca: authority.cert,
    both: `${stranger.cert}${authority.cert}`,
    stranger: stranger.cert,
    cert: anna.cert,
    key: anna.key,
    ldaprc: '',
  })
})
afterAll(() => files[Symbol.asyncDispose]())

/** Servers by what is odd about their certificate; all are spoken to by their address: of localhost the library makes what it takes for our name. */
const certificates: Readonly<Record<string, Issued>> = {
  right: ours,
  ...wrongServers,
  'common name only': authority.issue({ commonName: '127.0.0.1' }),
  'right common name, wrong alternative name': authority.issue({ commonName: '127.0.0.1', hosts: ['other.example'] }),
}

type Options = Readonly<Record<string, string>>

/** Which of the servers are trusted with these options; `$` stands for the folder of the files. */
const cases: readonly (readonly [options: Options, trusted: readonly string[]])[] = [
  [{}, []],
  [{ TLS_CACERT: '$/ca' }, ['right', 'common name only', 'right common name, wrong alternative name']],
  [
    { TLS_CACERT: '$/both' },
    ['right', 'wrong authority', 'common name only', 'right common name, wrong alternative name'],
  ],
  [{ TLS_CACERT: '$/stranger' }, ['wrong authority']],
  [{ TLS_CACERT: '$/ca', TLS_REQCERT: 'demand', TLS_REQSAN: 'try' }, ['right', 'common name only']],
  [{ TLS_CACERT: '$/ca', TLS_REQCERT: 'hard', TLS_REQSAN: 'demand' }, ['right']],
  [{ TLS_CACERT: '$/stranger', TLS_REQCERT: 'never' }, Object.keys(certificates)],
  [{ TLS_CACERT: '$/stranger', TLS_REQCERT: 'Allow' }, Object.keys(certificates)],
  [{ TLS_CACERT: '$/stranger', TLS_REQCERT: 'try' }, ['wrong authority']],
  [
    { TLS_CACERT: '$/ca', TLS_REQCERT: 'sometimes' },
    ['right', 'common name only', 'right common name, wrong alternative name'],
  ],
  [{ TLS_CACERT: '/no/such/file' }, []],
]

const inFolder = (options: Options): Options =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [name, value.replace('$', files.path)]))

/** As variables, and in a home without files. */
const variables = (options: Options): NodeJS.ProcessEnv => ({
  HOME: files.path,
  ...Object.fromEntries(Object.entries(inFolder(options)).map(([name, value]) => [`LDAP${name}`, value])),
})

async function trusts(url: string, options: Options, more = ''): Promise<boolean> {
  const conf = readLdapConf(variables(options), [])
  const parsed = parseLdapOptions(`ldapserver=x ldapprefix="uid=" ldapsuffix=",dc=x" ${more}`)
  const directory = { ...parsed, servers: [url], startTls: url.startsWith('ldap:') }
  const signal = AbortSignal.timeout(10_000)
  return checkLdap(directory, 'anna', new Secret(password), new LdapTrusts(conf), signal).catch(() => false)
}

describe.each(['ldaps', 'ldap'])('%s', (scheme) => {
  test.each(cases)('%j', async (options, expected) => {
    const trusted: string[] = []
    for (const [name, certificate] of Object.entries(certificates)) {
      const entries = [{ dn, password }]
      await using server = await LdapServer.start({ entries, certificate, ldaps: scheme === 'ldaps' })
      if (await trusts(`${scheme}://127.0.0.1:${server.port}`, options)) trusted.push(name)
      else expect(server.asked.filter((line) => line !== 'startTls')).toEqual([])
    }
    expect(trusted).toEqual(expected)
  })
})

test('authorities may lie in a folder, each in a file, whatever else lies there', async () => {
  await using folder = await Folder.open({
    'one.pem': stranger.cert,
    'two.pem': authority.cert,
    key: ours.key,
    README: '',
  })
  await using empty = await Folder.open()
  await using server = await LdapServer.start({ entries: [{ dn, password }], certificate: ours, ldaps: true })
  const url = `ldaps://127.0.0.1:${server.port}`
  expect(await trusts(url, { TLS_CACERTDIR: folder.path })).toBe(true)
  expect(await trusts(url, { TLS_CACERTDIR: empty.path })).toBe(false)
  expect(await trusts(url, { TLS_CACERTDIR: empty.path, TLS_CACERT: '$/ca' })).toBe(true)
  expect(await trusts(url, { TLS_CACERTDIR: '/no/such/folder' })).toBe(false)
})

test('ldaptlscacert takes the place of the authorities, and is checked against whatever TLS_REQCERT says', async () => {
  await using server = await LdapServer.start({ entries: [{ dn, password }], certificate: ours, ldaps: true })
  const url = `ldaps://127.0.0.1:${server.port}`
  expect(await trusts(url, { TLS_CACERT: '$/stranger' }, `ldaptlscacert=${files.file('ca')}`)).toBe(true)
  expect(await trusts(url, { TLS_REQCERT: 'never' }, `ldaptlscacert=${files.file('stranger')}`)).toBe(false)
})

test('checks that are asked for and cannot be made leave no connection; the least version counts', async () => {
  await using server = await LdapServer.start({ entries: [{ dn, password }], certificate: ours, ldaps: true })
  const url = `ldaps://127.0.0.1:${server.port}`
  for (const [name, value, expected] of [
    ['TLS_PEERKEY_HASH', 'x', false],
    ['TLS_CRLCHECK', 'all', false],
    ['TLS_CRLCHECK', 'none', true],
    ['TLS_PROTOCOL_MIN', '3.3', true],
    ['TLS_PROTOCOL_MIN', '3.9', true],
    ['TLS_CIPHER_SUITE', 'SECURE256', true],
  ] as const) {
    expect(await trusts(url, { TLS_CACERT: '$/ca', [name]: value }), `${name} ${value}`).toBe(expected)
  }
})

test('what has no effect is told', () => {
  const conf = new Map([
    ['TLS_CIPHER_SUITE', 'HIGH'],
    ['TLS_REQCERT', 'sometimes'],
    ['TLS_REQSAN', 'try'],
    ['TLS_CACERT', 'x'],
  ])
  expect(warningsOf(conf)).toEqual([
    'TLS_CIPHER_SUITE of ldap.conf has no effect',
    'TLS_REQCERT of ldap.conf is none of never, allow, try, demand, hard, and has no effect',
  ])
})

describe.runIf(hasSlapd)('slapd, and the library itself in the same environment', () => {
  const servers = new Map<string, Slapd>()
  beforeAll(async () => {
    for (const [name, certificate] of Object.entries(certificates)) servers.set(name, await Slapd.start(certificate))
  })
  afterAll(async () => {
    for (const server of servers.values()) await server[Symbol.asyncDispose]()
  })

  test.each(cases)('%j', async (options) => {
    for (const [name, server] of servers) {
      for (const url of [`ldaps://127.0.0.1:${server.tlsPort}`, `ldap://127.0.0.1:${server.port}`]) {
        const [itself, we] = [await server.letsIn(url, variables(options)), await trusts(url, options)]
        expect(we, `${name}, ${url}`).toBe(itself)
      }
    }
  })

  test('authorities in a folder', async () => {
    await using folder = await Folder.open({ 'one.pem': stranger.cert, 'two.pem': authority.cert })
    await using server = await Slapd.start(ours)
    const url = `ldaps://127.0.0.1:${server.tlsPort}`
    for (const TLS_CACERTDIR of [folder.path, '/no/such/folder']) {
      const options = { TLS_CACERT: '$/stranger', TLS_CACERTDIR }
      expect(await trusts(url, options), TLS_CACERTDIR).toBe(await server.letsIn(url, variables(options)))
    }
  })

  test('a client certificate is shown: TLS_CERT and TLS_KEY, of a user only', async () => {
    await using server = await Slapd.start(ours, authority.cert)
    const url = `ldaps://127.0.0.1:${server.tlsPort}`
    const options = { TLS_CACERT: '$/ca', TLS_CERT: '$/cert', TLS_KEY: '$/key' }
    expect([await server.letsIn(url, variables(options)), await trusts(url, options)]).toEqual([true, true])
    const without = { TLS_CACERT: '$/ca' }
    expect([await server.letsIn(url, variables(without)), await trusts(url, without)]).toEqual([false, false])
  })
})
