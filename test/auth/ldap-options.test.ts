// LDAP options as pg_hba.conf has them.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseLdapOptions } from '../../src/auth/ldap-options.js'
import { InvalidValue } from '../../src/config/config-error.js'

const simple = { startTls: false, caFile: undefined }
const search = { kind: 'search', base: 'dc=x', scope: 'sub', filter: '(uid=$username)', bindDn: '' }

test.each([
  [
    'ldapserver=ldap.example ldapprefix="cn=" ldapsuffix=", dc=example, dc=net"',
    {
      ...simple,
      servers: ['ldap://ldap.example'],
      mode: { kind: 'simple', prefix: 'cn=', suffix: ', dc=example, dc=net' },
    },
  ],
  [
    'ldapserver=h ldapport=1389 ldaptls=1 ldapsuffix=@example.net # AD',
    {
      startTls: true,
      servers: ['ldap://h:1389'],
      mode: { kind: 'simple', prefix: '', suffix: '@example.net' },
    },
  ],
  [
    'ldapserver="a b ::1" ldapbasedn="dc=x"',
    { ...simple, servers: ['ldap://a', 'ldap://b', 'ldap://[::1]'], mode: search },
  ],
  ['ldapserver=h ldapscheme=ldaps ldapbasedn=dc=x', { servers: ['ldaps://h'], mode: search }],
  [
    'ldapserver=h ldapbasedn="dc=x" ldapbinddn="cn=reader" ldapbindpasswd="se ""cret" ldapsearchattribute=cn',
    { mode: { ...search, filter: '(cn=$username)', bindDn: 'cn=reader' } },
  ],
  [
    'ldapserver=h ldapbasedn="dc=x" ldapsearchfilter="(|(uid=$username)(mail=$username))"',
    { mode: { ...search, filter: '(|(uid=$username)(mail=$username))' } },
  ],
  [
    'ldapurl="ldap://127.0.0.1:12345/dc=example,dc=net?uid?sub"',
    { servers: ['ldap://127.0.0.1:12345'], mode: { ...search, base: 'dc=example,dc=net' } },
  ],
  [
    'ldapurl="ldaps://[::1]/dc=a%20b??one?(mail=$username)" ldaptlscacert=/etc/ca.crt',
    {
      servers: ['ldaps://[::1]'],
      caFile: '/etc/ca.crt',
      mode: { ...search, base: 'dc=a b', scope: 'one', filter: '(mail=$username)' },
    },
  ],
  // RFC 4516's default, normally not useful, is PostgreSQL's too.
  ['ldapurl=ldap://h/dc=x?uid', { mode: { ...search, scope: 'base' } }],
])('%s', (text, expected) => {
  expect(parseLdapOptions(text)).toMatchObject(expected)
})

test('the password of the one who searches is not printed', () => {
  const { mode } = parseLdapOptions('ldapserver=h ldapbasedn=dc=x ldapbinddn=cn=r ldapbindpasswd="se ""cret"')
  expect(mode).toMatchObject({ bindPassword: expect.anything() })
  expect(JSON.stringify(mode)).not.toContain('cret')
  expect((mode as { bindPassword: { reveal(): string } }).bindPassword.reveal()).toBe('se "cret')
})

test.each([
  ['', 'authentication method "ldap" requires ldapserver or ldapurl'],
  ['ldapserver=h', /requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set$/],
  ['ldapserver=h ldapprefix=cn= ldapbasedn=dc=x', 'cannot mix options for simple bind and search+bind modes'],
  [
    'ldapserver=h ldapbasedn=x ldapsearchattribute=a ldapsearchfilter=(b=c)',
    /^cannot use ldapsearchattribute together/,
  ],
  ['ldapserver=h ldapbasedn=x ldapport=0', 'invalid LDAP port number'],
  ['ldapserver=h ldapbasedn=x ldapscheme=ldapi', 'invalid ldapscheme value'],
  ['ldapserver=h ldapbasedn=x ldapscheme=ldaps ldaptls=1', /^ldaptls=1 is for ldap/],
  ['ldapserver=h ldapbasedn=x ldaptls=yes', 'ldaptls is 0 or 1'],
  ['ldapserver=h ldapbasedn=x ldapscope=one', 'unrecognized authentication option name: "ldapscope"'],
  ['ldapurl=http://h/', 'could not parse the LDAP URL'],
  ['ldapurl=ldap://h/dc=x?uid?all', 'the scope is base, one or sub'],
  ['ldapurl=ldap://h/dc=%zz', /percent-encoding/],
  ['ldapurl=ldap://h/dc=x?a?sub?(b=c)?!ext', /extensions/],
  ['nonsense', /name=value/],
  ['ldapserver="h', /name=value/],
])('%s is refused', (text, message) => {
  expect(() => parseLdapOptions(text)).toThrow(InvalidValue)
  expect(() => parseLdapOptions(text)).toThrow(message)
})

test('any text is read or refused', () => {
  const word = fc.constantFrom(
    'ldapserver=',
    'ldapurl=',
    'ldap://',
    'h',
    '"',
    '""',
    ' ',
    '#',
    '?',
    '/',
    '%',
    '=',
    'ldaptls=',
    '1',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(word).map((words) => words.join('')),
      ),
      (text) => {
        try {
          parseLdapOptions(text)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidValue)
        }
      },
    ),
  )
})
