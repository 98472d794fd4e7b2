import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readLdapConf } from '../../src/io/ldap-conf.js'

/** A home with these files in it; `system` is the file for all users. */
function home(files: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), 'ldap-conf-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const read = (env: NodeJS.ProcessEnv = {}) =>
    Object.fromEntries(readLdapConf({ HOME: folder, ...env }, [join(folder, 'no such file'), join(folder, 'system')]))
  return { folder, read }
}

test('lines of TLS_ options are read, others and comments are not', () => {
  const { read } = home({
    system: [
      '# TLS_CACERT /commented/out',
      'URI ldap://ldap.example.net',
      'TLS_CACERT\t/etc/ssl/my authority.crt  ',
      '  tls_reqcert\ttry',
      'TLS_CRLCHECK',
      'TLS_CIPHER_SUITE HIGH # no comment here',
      '',
    ].join('\r\n'),
  })
  expect(read()).toEqual({
    TLS_CACERT: '/etc/ssl/my authority.crt',
    TLS_REQCERT: 'try',
    TLS_CIPHER_SUITE: 'HIGH # no comment here',
  })
})

test('the later word wins: the system, the user, the files that variables name, the variables', () => {
  const files = {
    system: 'TLS_CACERT system\nTLS_REQCERT never\nTLS_CERT not for all\nTLS_KEY not for all\n',
    ldaprc: 'TLS_CACERT ldaprc\nTLS_CERT own\n',
    '.ldaprc': 'TLS_CACERT hidden\n',
    conf: 'TLS_CACERT conf\nTLS_KEY not for all\n',
    '.mine': 'TLS_CACERT mine\nTLS_KEY mine\n',
  }
  const { folder, read } = home(files)
  const own = { TLS_CACERT: 'hidden', TLS_REQCERT: 'never', TLS_CERT: 'own' }
  expect(read()).toEqual(own)
  expect(read({ HOME: undefined })).toEqual({ TLS_CACERT: 'system', TLS_REQCERT: 'never' })
  expect(read({ LDAPCONF: join(folder, 'conf') })).toEqual({ ...own, TLS_CACERT: 'conf' })
  const mine = { LDAPCONF: join(folder, 'conf'), LDAPRC: 'mine' }
  expect(read(mine)).toEqual({ ...own, TLS_CACERT: 'mine', TLS_KEY: 'mine' })
  expect(read({ ...mine, LDAPTLS_CACERT: 'variable', LDAPTLS_REQSAN: 'try', LDAPBASE: 'dc=x' })).toEqual({
    ...own,
    TLS_CACERT: 'variable',
    TLS_KEY: 'mine',
    TLS_REQSAN: 'try',
  })
})

test('with LDAPNOINIT nothing is read at all, and what is not there says nothing', () => {
  const { read } = home({ system: 'TLS_CACERT system\n' })
  expect(read({ LDAPNOINIT: '1', LDAPTLS_CACERT: 'variable' })).toEqual({})
  expect(readLdapConf({ LDAPCONF: '/no/such/file', HOME: '/no/such/home' }, [])).toEqual(new Map())
})
