// Passwords checked by a directory.

import { afterEach, describe, expect, test } from 'vitest'
import { checkLdap, entryName, escapeInFilter, LdapFailed } from '../../src/auth/ldap.js'
import { parseLdapOptions } from '../../src/auth/ldap-options.js'
import { LdapTrusts } from '../../src/auth/ldap-trust.js'
import { Secret } from '../../src/config/secret.js'
import { LdapServer, type LdapServerOptions } from '../harness/ldap-server.js'
import { authority, Folder, ours, wrongServers } from '../harness/tls.js'

const entries = [
  { dn: 'uid=anna,dc=x', password: 'anna pw', attributes: { uid: 'anna', mail: 'a@x' } },
  { dn: 'uid=anna*,dc=x', password: 'star', attributes: { uid: 'anna*' } },
  { dn: 'uid=é,dc=x', password: 'accent', attributes: { uid: 'é' } },
  { dn: 'uid=twin1,dc=x', password: 'twin', attributes: { mail: 'twin' } },
  { dn: 'uid=twin2,dc=x', password: 'twin', attributes: { mail: 'twin' } },
  { dn: 'uid=bare,dc=x', attributes: { uid: 'bare' } },
  { dn: 'cn=Smith\\, John,dc=x', password: 'john', attributes: {} },
]

const servers: AsyncDisposable[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server[Symbol.asyncDispose]()
})

async function start(options: LdapServerOptions = {}): Promise<LdapServer> {
  const server = await LdapServer.start({ entries, ...options })
  servers.push(server)
  return server
}

const check = (options: string, user: string, password: string, signal = new AbortController().signal) =>
  checkLdap(parseLdapOptions(options), user, new Secret(password), noConf, signal)

/** Without an ldap.conf. */
const noConf = new LdapTrusts(new Map())

describe('simple bind', () => {
  const options = (server: LdapServer): string =>
    `ldapserver=127.0.0.1 ldapport=${server.port} ldapprefix="uid=" ldapsuffix=",dc=x"`

  test('lets in with the right password only', async () => {
    const server = await start()
    expect(await check(options(server), 'anna', 'anna pw')).toBe(true)
    expect(await check(options(server), 'anna', 'wrong')).toBe(false)
    expect(await check(options(server), 'nobody', 'anna pw')).toBe(false)
    expect(server.asked).toEqual(['bind uid=anna,dc=x', 'bind uid=anna,dc=x', 'bind uid=nobody,dc=x'])
  })

  test('does not ask with an empty password or name, which is a login as nobody', async () => {
    const server = await start()
    expect(await check(options(server), 'anna', '')).toBe(false)
    expect(await check(options(server), '', 'anna pw')).toBe(false)
    expect(server.asked).toEqual([])
  })

  test('escapes a name, so that it cannot reach another entry', async () => {
    const server = await start()
    expect(await check(options(server), 'anna,dc=x', 'anna pw')).toBe(false)
    expect(server.asked).toEqual(['bind uid=anna\\,dc\\=x,dc=x'])
    const common = options(server).replace('uid=', 'cn=')
    expect(await check(common, 'Smith, John', 'john')).toBe(true)
  })
})

describe('search and bind', () => {
  const options = (server: LdapServer, more = ''): string =>
    `ldapserver=127.0.0.1 ldapport=${server.port} ldapbasedn="dc=x" ${more}`

  test('finds the entry and binds as it', async () => {
    const server = await start()
    expect(await check(options(server), 'anna', 'anna pw')).toBe(true)
    expect(await check(options(server), 'anna', 'wrong')).toBe(false)
    expect(server.asked.slice(0, 2)).toEqual(['search dc=x sub (uid="anna")', 'bind uid=anna,dc=x'])
    expect(await check(options(server), 'é', 'accent')).toBe(true)
  })

  test('does not bind where there is none, or more than one', async () => {
    const server = await start()
    expect(await check(options(server), 'nobody', 'x')).toBe(false)
    expect(await check(options(server, 'ldapsearchattribute=mail'), 'twin', 'twin')).toBe(false)
    expect(server.asked.some((line) => line.startsWith('bind'))).toBe(false)
    expect(await check(options(server), 'bare', 'x')).toBe(false) // it has no password at all
  })

  test('takes the name for a name, whatever it has in it', async () => {
    const server = await start()
    const filter = 'ldapsearchfilter="(|(uid=$username)(mail=$username))"'
    expect(await check(options(server, filter), 'a@x', 'anna pw')).toBe(true)
    for (const user of ['*', 'anna)(mail=*', 'x)(|(uid=anna', '\\2a', '$username', '$&']) {
      expect(await check(options(server, filter), user, 'anna pw')).toBe(false)
      expect(server.asked.at(-1)).toBe(`search dc=x sub (|(uid=${JSON.stringify(user)})(mail=${JSON.stringify(user)}))`)
    }
    expect(await check(options(server), 'anna*', 'star')).toBe(true)
  })

  test('searches as somebody where the directory wants it', async () => {
    const server = await start({ entries: [...entries, { dn: 'cn=reader', password: 'r' }] })
    await expect(check(options(server), 'anna', 'anna pw')).rejects.toThrow(LdapFailed)
    const reader = 'ldapbinddn="cn=reader" ldapbindpasswd=r'
    expect(await check(options(server, reader), 'anna', 'anna pw')).toBe(true)
    // That the reader is refused is not the user's fault, and not an answer.
    await expect(check(options(server, reader.replace('=r', '=wrong')), 'anna', 'anna pw')).rejects.toThrow(LdapFailed)
  })
})

describe('with TLS', () => {
  const options = (server: LdapServer, more: string): string =>
    `ldapserver=127.0.0.1 ldapport=${server.port} ldapbasedn="dc=x" ${more}`

  test.each([
    ['ldaptls=1', false],
    ['ldapscheme=ldaps', true],
  ])('%s: nothing but StartTLS is said in the clear, and the certificate is checked', async (how, ldaps) => {
    await using folder = await Folder.open({ 'ca.crt': authority.cert })
    const checked = `${how} ldaptlscacert=${folder.file('ca.crt')}`
    const server = await start({ certificate: ours, ldaps })
    expect(await check(options(server, checked), 'anna', 'anna pw')).toBe(true)
    const clear = server.asked.filter((line) => !line.startsWith('tls: '))
    expect(clear).toEqual(ldaps ? [] : ['startTls'])

    await expect(check(options(server, how), 'anna', 'anna pw')).rejects.toThrow(/certificate/)
    for (const certificate of Object.values(wrongServers)) {
      const wrong = await start({ certificate, ldaps })
      await expect(check(options(wrong, checked), 'anna', 'anna pw')).rejects.toThrow(LdapFailed)
      expect(wrong.asked.filter((line) => line !== 'startTls')).toEqual([])
    }
  })
})

test('what somebody in between adds to the answer to StartTLS is not read as if it had been encrypted', async () => {
  await using folder = await Folder.open({ 'ca.crt': authority.cert })
  const success = Buffer.from('300c020101610702010004000400'.replace('02010004', '0a010004'), 'hex')
  for (const injected of [success, success.subarray(0, 5), Buffer.of(0x30)]) {
    const server = await start({ certificate: ours, injected })
    const tls = `ldaptls=1 ldaptlscacert=${folder.file('ca.crt')}`
    const options = `ldapserver=127.0.0.1 ldapport=${server.port} ldapprefix=uid= ldapsuffix=,dc=x ${tls}`
    await expect(check(options, 'anna', 'wrong')).rejects.toThrow('unencrypted data after the answer to StartTLS')
    expect(server.asked).toEqual(['startTls'])
  }
})

test('a server without StartTLS is told no password', async () => {
  const server = await start()
  const options = `ldapserver=127.0.0.1 ldapport=${server.port} ldapprefix=uid= ldaptls=1`
  await expect(check(options, 'anna', 'anna pw')).rejects.toThrow('the server refuses StartTLS')
  expect(server.asked).toEqual(['startTls'])
})

describe('a server that fails', () => {
  test('is passed over for the next', async () => {
    const server = await start()
    const gone = await start()
    await gone[Symbol.asyncDispose]()
    const urls = { ...parseLdapOptions('ldapserver=x ldapprefix=uid= ldapsuffix=,dc=x') }
    const both = { ...urls, servers: [`ldap://127.0.0.1:${gone.port}`, `ldap://127.0.0.1:${server.port}`] }
    expect(await checkLdap(both, 'anna', new Secret('anna pw'), noConf, new AbortController().signal)).toBe(true)
    const none = checkLdap(
      { ...both, servers: both.servers.slice(0, 1) },
      'anna',
      new Secret('x'),
      noConf,
      new AbortController().signal,
    )
    await expect(none).rejects.toThrow(/^LDAP server ldap:\/\/127\.0\.0\.1:\d+: connect ECONNREFUSED/)
  })

  test.each([
    ['bind', ''],
    ['search', ''],
    ['startTls', 'ldaptls=1'],
    ['handshake', 'ldapscheme=ldaps'],
  ] as const)('by silence on %s is given up, and the connection closed', async (silentOn, how) => {
    const server = await start({ silentOn, certificate: ours })
    const bind = silentOn === 'bind' ? 'ldapprefix=uid=' : 'ldapbasedn=dc=x'
    const abort = new AbortController()
    const checking = check(`ldapserver=127.0.0.1 ldapport=${server.port} ${bind} ${how}`, 'anna', 'x', abort.signal)
    const outcome = expect(checking).rejects.toThrow(/: no answer in time$/)
    while (server.connections === 0 || (silentOn !== 'handshake' && server.asked.length === 0)) {
      await new Promise(setImmediate)
    }
    abort.abort()
    await outcome
    while (server.connections > 0) await new Promise(setImmediate)
  })
})

test.each([
  ['*', '\\2a'],
  ['a(b)c\\d\0', 'a\\28b\\29c\\5cd\\00'],
  ['é plain', 'é plain'],
])('in a filter %j is %j', (name, escaped) => {
  expect(escapeInFilter(name)).toBe(escaped)
})

test.each([
  ['cn=', ',dc=x', 'a,b+c"d\\e<f>g;h=i', 'cn=a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h\\=i,dc=x'],
  ['cn=', '', '#a ', 'cn=\\#a\\ '],
  ['cn = ', '', ' ', 'cn = \\ '],
  ['', '@example.net', 'anna', 'anna@example.net'],
  ['EXAMPLE\\', '', 'anna', 'EXAMPLE\\anna'],
  ['', '@example.net', 'anna@evil.example', undefined],
  ['EXAMPLE\\', '', 'OTHER\\anna', undefined],
  ['', '@example.net', 'an\nna', undefined],
])('prefix %j and suffix %j: the entry of %j', (prefix, suffix, user, expected) => {
  expect(entryName({ kind: 'simple', prefix, suffix }, user)).toBe(expected)
})
