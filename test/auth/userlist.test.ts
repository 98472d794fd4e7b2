import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { StoredSecret } from '../../src/auth/secrets.js'
import { parseUserlist } from '../../src/auth/userlist.js'
import { textOf } from '../../src/protocol/byte-text.js'

function read(text: string) {
  const { users, warnings } = parseUserlist(text, 'userlist.txt')
  return { users: Object.fromEntries([...users].map(([name, secret]) => [name, shown(secret)])), warnings }
}

function shown(secret: StoredSecret): string {
  if (secret.kind === 'plain') return secret.password.reveal()
  return secret.kind === 'md5' ? secret.hash.reveal() : secret.kind
}

test('names and secrets are read, comments and what follows a secret are not', () => {
  const scram = `SCRAM-SHA-256$4096:AAAA$${'A'.repeat(43)}=:${'A'.repeat(43)}=`
  const text = [
    '; "comment" "x"',
    '',
    '"sam" "sam"',
    '  "tab"\t"secret" "more" ignored',
    '"clm" "md531dcc6c3366b993fb4b6c619e63776f2"',
    `"scram" "${scram}"`,
    '"colon": "x";',
    '"crlf" "x"\r',
    '"no blank""" "x"',
    '"say ""hi""" """"',
    '"empty" ""',
    '"no blank" "between""them" ',
    '   ',
    '"last" "no line feed"',
  ].join('\n')
  expect(read(text)).toEqual({
    users: {
      sam: 'sam',
      tab: 'secret',
      clm: 'md531dcc6c3366b993fb4b6c619e63776f2',
      scram: 'scram',
      colon: 'x',
      crlf: 'x',
      'no blank"': 'x',
      'say "hi"': '"',
      empty: 'none',
      'no blank': 'between"them',
      last: 'no line feed',
    },
    warnings: [],
  })
})

test('a name that is listed twice has its last secret', () => {
  expect(read('"a" "1"\n"a" "2"\n').users).toEqual({ a: '2' })
})

test.each([
  ['no quote', 'sam "x"', 'broken auth file'],
  ['a comment that does not begin with a semicolon', '# "sam" "x"', 'broken auth file'],
  ['a name without end', '"sam', 'broken auth file'],
  ['a name without a secret', '"sam"', 'broken auth file'],
  ['a secret without end', '"sam" "x', 'broken auth file'],
  ['a secret without end but with an escaped quote', '"sam" "x""', 'broken auth file'],
  ['nothing between name and secret', '"sam""x"', 'broken auth file'],
  ['a zero byte', '"sam" "x\0"', 'broken auth file'],
  ['too long a name', `"${'n'.repeat(128)}" "x"`, 'username too long in auth file'],
  ['too long a name in bytes', `"${'ä'.repeat(64)}" "x"`, 'username too long in auth file'],
  ['too long a secret', `"sam" "${'x'.repeat(65_531)}"`, 'password too long in auth file'],
])('%s: a warning says where, and the rest is ignored', (_, line, problem) => {
  expect(read(`"a" "1"\n\n${line}\n"b" "2"\n`)).toEqual({
    users: { a: '1' },
    warnings: [`${problem} (userlist.txt:3), ignoring the rest of the file`],
  })
})

test('the longest name and secret are read', () => {
  const [name, secret] = ['n'.repeat(127), 'x'.repeat(65_530)]
  expect(read(`"${name}" "${secret}"`)).toEqual({ users: { [name]: secret }, warnings: [] })
})

test('a forgotten secret is not made up from the next line', () => {
  expect(read('"alice"\n"bob" "x"').users).toEqual({})
})

test('a SCRAM secret with a slip is taken as a password, with a warning', () => {
  expect(read('"sam" "SCRAM-SHA-256$4096:abc"').warnings).toEqual([
    'secret of user "sam" is no valid SCRAM secret, taken as a password (userlist.txt:1)',
  ])
})

test('names and secrets are bytes: what is not UTF-8 is no less a name, and its length is in bytes', () => {
  const latin1 = (text: string): string => textOf(Buffer.from(text, 'latin1'))
  const { users, warnings } = read(latin1('"caf\xe9" "\xff""\xfe"\n"caf\xe8" "x"'))
  expect(warnings).toEqual([])
  expect(users).toEqual({ [latin1('caf\xe9')]: latin1('\xff"\xfe'), [latin1('caf\xe8')]: 'x' })
  expect(Object.keys(read(latin1(`"${'\xe9'.repeat(127)}" "x"`)).users)).toHaveLength(1)
  expect(read(latin1(`"${'\xe9'.repeat(128)}" "x"`)).warnings).toHaveLength(1)
})

test('what is written is what is read', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => !/[\n\0]/.test(value))
  fc.assert(
    fc.property(fc.dictionary(text, text), fc.constantFrom(' ', '\t', ' : '), (users, between) => {
      const quote = (value: string) => `"${value.replaceAll('"', '""')}"`
      const lines = Object.entries(users).map(([name, secret]) => quote(name) + between + quote(secret))
      const expected = Object.entries(users).map(([name, secret]) => [name, secret === '' ? 'none' : secret])
      expect(read(lines.join('\n'))).toEqual({ users: Object.fromEntries(expected), warnings: [] })
    }),
  )
})

test('any text is read in some way, and quickly', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('"', '""', 'a', ' ', '\n', ';', '\0', '\\', 'é')), (parts) => {
      expect(parseUserlist(parts.join(''), 'u').warnings.length).toBeLessThanOrEqual(parts.length)
    }),
  )
  for (const text of ['"'.repeat(200_001), `"${'""'.repeat(100_000)}`, `"a"${'x'.repeat(200_000)}`]) {
    expect(parseUserlist(text, 'u').users.size).toBe(0)
  }
})

test('neither secrets nor what holds them are printed', () => {
  const list = parseUserlist('"sam" "hunter2"\n"x" "SCRAM-SHA-256$hunter2"\nhunter2', 'u')
  const printed = `${inspect(list, { showHidden: true, getters: true, depth: 9 })} ${JSON.stringify([...list.users])}`
  expect(printed).toContain('sam')
  expect(printed).not.toContain('hunter2')
  expect(list.warnings.join()).not.toContain('hunter2')
})
