import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type HbaClient, matchHba, parseHba } from '../../src/auth/hba.js'
import { parseIdent } from '../../src/auth/ident.js'

const { maps } = parseIdent('certs sam.example.org sam', 'ident.conf')

function parse(text: string, files: Record<string, string> = {}) {
  const read = (file: string) => {
    const content = files[file]
    if (content === undefined) throw new Error('ENOENT')
    return content
  }
  return parseHba(text, { file: '/etc/hba.conf', maps, read })
}

/** `client`: database, user, and `unix` or an address, then perhaps `tls` or `replication`. */
function methodFor(text: string, client: string, files: Record<string, string> = {}): string | undefined {
  const [database = '', user = '', from = '', flag = ''] = client.split(/ +/)
  const peer: HbaClient['peer'] =
    from === 'unix' ? { kind: 'unix' } : { kind: 'tcp', address: from, tls: flag === 'tls' }
  return matchHba(parse(text, files).rules, { peer, database, user, replication: flag === 'replication' })?.method.name
}

test.each([
  ['local all all trust', 'db sam unix', 'trust'],
  ['local all all trust', 'db sam 127.0.0.1', undefined],
  ['host all all 0.0.0.0/0 md5', 'db sam unix', undefined],
  ['host all all 0.0.0.0/0 md5', 'db sam 1.2.3.4', 'md5'],
  ['host all all 0.0.0.0/0 md5', 'db sam 1.2.3.4 tls', 'md5'],
  ['host all all 0.0.0.0/0 md5', 'db sam ::1', undefined],
  ['hostssl all all all cert', 'db sam 1.2.3.4', undefined],
  ['hostssl all all all cert', 'db sam 1.2.3.4 tls', 'cert'],
  ['hostnossl all all all password', 'db sam 1.2.3.4 tls', undefined],
  ['hostnossl all all all password', 'db sam face::1', 'password'],
  // databases and users
  ['host db,other sam all reject', 'other sam ::1', 'reject'],
  ['host db , other sam all reject', 'other sam ::1', 'reject'],
  ['host db,other sam all reject', 'third sam ::1', undefined],
  ['host db,other sam all reject', 'db tom ::1', undefined],
  ['host "a , b" "q""q" all md5', 'a sam ::1', undefined],
  ['host "all" all all md5', 'db sam ::1', undefined],
  ['host "all" all all md5', 'all sam ::1', 'md5'],
  ['host All all all md5', 'db sam ::1', undefined],
  ['host sameuser all all md5', 'sam sam ::1', 'md5'],
  ['host sameuser all all md5', 'db sam ::1', undefined],
  ['host "sameuser" all all md5', 'sam sam ::1', undefined],
  ['host all replication all md5', 'db replication ::1', 'md5'],
  ['host all sameuser all md5', 'sam sam ::1', undefined],
  // replication: only where it is named, and then only that
  ['host all all all md5', 'db sam ::1 replication', undefined],
  ['host replication all all md5', 'db sam ::1 replication', 'md5'],
  ['host replication all all md5', 'replication sam ::1', undefined],
  ['host db,replication sam all md5', 'db sam ::1', 'md5'],
  ['host replication sam all md5', 'db tom ::1 replication', undefined],
  ['host "replication" all all md5', 'replication sam ::1', 'md5'],
  // addresses
  ['host all all 10.0.0.0/8 trust', 'db sam 10.255.0.1', 'trust'],
  ['host all all 10.0.0.0/8 trust', 'db sam 11.0.0.1', undefined],
  ['host all all 10.0.0.0/8 trust', 'db sam ::ffff:10.1.1.1', 'trust'],
  ['host all all ::ffff:10.0.0.0/104 trust', 'db sam 10.1.1.1', 'trust'],
  ['host all all ::/0 trust', 'db sam ::ffff:10.1.1.1', undefined],
  ['host all all 127.0.0.0 255.255.255.0 trust', 'db sam 127.0.0.77', 'trust'],
  ['host all all 127.0.0.0 255.255.255.0 trust', 'db sam 127.0.1.77', undefined],
  ['host all all 1.0.3.0 255.0.255.0 trust', 'db sam 1.2.3.4', 'trust'],
  ['host all all ff20::/12 trust', 'db sam ff22:3::1', 'trust'],
  ['host all all fe80:: ffff:: trust', 'db sam fe80::1%eth0', 'trust'],
  ['host all all ::1/128 trust', 'db sam ::2', undefined],
  ['host all all all trust', 'db sam undefined', undefined],
  // the first that matches
  ['host all sam all reject\nhost all all all trust', 'db sam ::1', 'reject'],
  ['host all sam all reject\nhost all all all trust', 'db tom ::1', 'trust'],
  ['# host all all all trust\n\t\t # x\nhost all all all ldap ldapserver=x ldapsuffix=@x # y', 'db tom ::1', 'ldap'],
  ['\r\nhost all all all scram-sha-256 # comment\r', 'db tom ::1', 'scram-sha-256'],
])('%j, client %j: %s', (text, client, method) => {
  expect(parse(text).warnings).toEqual([])
  expect(methodFor(text, client)).toBe(method)
})

test('names may come from files, and those from files', () => {
  const files = {
    '/etc/users/a': 'sam, tom\n\n# nobody\n@b  ann\n"@c"',
    '/etc/users/b': 'bob\r\n',
    '/srv/dbs': 'db',
  }
  const rule = 'host @/srv/dbs,other @users/a,zoe all md5'
  expect(parse(rule, files).warnings).toEqual([])
  for (const user of ['sam', 'tom', 'bob', 'ann', '@c', 'zoe']) {
    expect(methodFor(rule, `db ${user} ::1`, files), user).toBe('md5')
  }
  expect(methodFor(rule, 'other sam ::1', files)).toBe('md5')
  expect(methodFor(rule, 'db nobody ::1', files)).toBeUndefined()
})

test.each([
  ['hostgssenc all all all trust', 'unknown type'],
  ['"host" all all all trust', 'unknown type'],
  ['host', 'did not find database name'],
  ['host all', 'did not find user name'],
  ['host all, all all trust', 'failed to parse address - trust'],
  ['host ,all all all trust', 'did not find database name'],
  ['host "all all all trust', 'did not find database name'],
  ['host "a"" all all trust', 'did not find database name'],
  ['host samerole all all trust', 'samerole is not supported'],
  ['host samegroup all all trust', 'samegroup is not supported'],
  ['host +admins all all trust', '+groupname is not supported'],
  ['host all +admins all trust', '+groupname is not supported'],
  ['host all @missing all trust', 'could not open file /etc/missing: ENOENT'],
  ['host @loop all all trust', '@loop is nested too deeply'],
  ['host @empty all all "trust"', 'unsupported method: buf=trust'],
  ['host all all', "did not find address - ''"],
  ['host all all "all" trust', "did not find address - 'all'"],
  ['host all all samehost trust', 'failed to parse address - samehost'],
  ['host all all example.org trust', 'failed to parse address - example.org'],
  ['host all all 10.0.0/8 trust', 'failed to parse address - 10.0.0'],
  ['host all all 10.0.0.0/33 trust', 'invalid mask'],
  ['host all all ::/129 trust', 'invalid mask'],
  ['host all all 10.0.0.0/ trust', 'invalid mask'],
  ['host all all 10.0.0.0/8/8 trust', 'invalid mask'],
  ['host all all 10.0.0.0/-1 trust', 'invalid mask'],
  ['host all all 10.0.0.0', 'did not find mask'],
  ['host all all 10.0.0.0 trust', 'failed to parse mask: trust'],
  ['host all all 10.0.0.0 ffff:: trust', 'failed to parse mask: ffff::'],
  ['host all all all', 'unsupported method: buf='],
  ['host all all all pam', 'unsupported method: buf=pam'],
  ['host all all all gss', 'unsupported method: buf=gss'],
  ['local all all all trust', 'unsupported method: buf=all'],
  ['host all all all trust trust', 'Ident map trust is malformed. It is not in map=value format.'],
  ['host all all all cert clientcert=1', 'Ident map clientcert=1 is malformed. It is not in map=value format.'],
  ['host all all all cert map=none', 'Ident map none is not found in ident config file'],
  ['host all all all cert map="certs"', 'Ident map  is not found in ident config file'],
  ['host all all all cert map=certs x', 'unsupported parameters'],
  ['host all all all trust "x"', 'unsupported parameters'],
  ['host all all all trust,', 'unsupported parameters'],
])('%j is warned about and skipped', (line, warning) => {
  const { rules, warnings } = parse(`local all all trust\n${line}\nlocal all all reject`, {
    '/etc/loop': 'x,@loop',
    '/etc/empty': '\n',
  })
  expect(rules.map((rule) => rule.line)).toEqual([1, 3])
  expect(warnings).toEqual([`hba line 2: ${warning}`, 'could not parse hba config line 2 (/etc/hba.conf:2)'])
})

test('a map is found for cert and peer, and has no effect elsewhere', () => {
  const { rules, warnings } = parse(
    'hostssl all all all cert map=certs\nlocal all all peer\nlocal all all md5 map=certs',
  )
  expect(rules.map((rule) => rule.method)).toEqual([
    { name: 'cert', map: maps.get('certs') },
    { name: 'peer', map: undefined },
    { name: 'md5' },
  ])
  expect(warnings).toEqual([
    "hba line 2: method peer lets in the pooler's own user only, by a Unix socket that is closed to all others (see docs/operations.md)",
    'hba line 3: map=certs has no effect with method md5',
  ])
})

test('ldap has its options behind it', () => {
  const { rules, warnings } = parse('host all all all ldap ldapserver=h ldapsuffix=", dc=x" #y\r')
  expect(rules[0]?.method).toMatchObject({ name: 'ldap', options: { mode: { prefix: '', suffix: ', dc=x' } } })
  expect(warnings).toEqual([])
})

test('ldap with wrong options refuses, and does not leave it to a line below', () => {
  const { rules, warnings } = parse('host all all all ldap ldapserver=h ldapbindpasswd=x\nhost all all all trust')
  expect(rules.map((rule) => rule.method)).toEqual([{ name: 'reject' }, { name: 'trust' }])
  expect(warnings).toEqual([
    'hba line 1: method ldap refuses everybody: authentication method "ldap" requires argument "ldapbasedn", ' +
      '"ldapprefix", or "ldapsuffix" to be set',
  ])
})

test('an address with bits outside of its mask is warned about, and matches nobody', () => {
  const text = 'host all all 10.0.0.1/8 trust'
  expect(parse(text).warnings).toEqual([
    'hba line 1: address 10.0.0.1 does not match its mask: the rule matches no client',
  ])
  expect(methodFor(text, 'db sam 10.0.0.1')).toBeUndefined()
})

test('a socket that has lost its address is not a local one', () => {
  expect(methodFor('local all all trust\nhost all all all trust', 'db sam ')).toBeUndefined()
})

const name = fc.constantFrom('a', 'b', 'all', 'sameuser', 'replication', 'x y', 'q"q', '@f', '+g')
const names = fc.array(name, { minLength: 1, maxLength: 3 })
const quote = (values: readonly string[]) => values.map((value) => `"${value.replaceAll('"', '""')}"`).join(' , ')

test('quoted names mean nothing but themselves', () => {
  fc.assert(
    fc.property(names, names, name, name, (databases, users, database, user) => {
      const { rules, warnings } = parse(`local ${quote(databases)} ${quote(users)} trust`)
      expect(warnings).toEqual([])
      const rule = matchHba(rules, { peer: { kind: 'unix' }, database, user, replication: false })
      expect(rule !== undefined).toBe(databases.includes(database) && users.includes(user))
    }),
  )
})

test('any text is read in some way', () => {
  const part = fc.constantFrom(
    'local',
    'host',
    'all',
    'x',
    '1.2.3.4',
    '/8',
    '::1',
    'md5',
    'ldap',
    'map=certs',
    '"',
    '""',
    ' ',
    ' ',
    ' ',
    ',',
    '#',
    '\n',
    '@f',
    '@/etc/f',
    '\0',
    'é',
  )
  fc.assert(
    fc.property(fc.array(part, { maxLength: 40 }), fc.array(part), (parts, inFile) => {
      const { rules, warnings } = parse(parts.join(''), { '/etc/f': inFile.join('') })
      for (const client of ['x x unix', 'x x 1.2.3.4 tls', 'x x ::1 replication']) methodFor(parts.join(''), client)
      expect(rules.length + warnings.length).toBeLessThanOrEqual(3 * parts.length)
    }),
    { numRuns: 1000 },
  )
})
