import fc from 'fast-check'
import { expect, test } from 'vitest'
import { singleStatement, statements, stringValue, type Token, tokenize } from '../../src/protocol/sql.js'
import { cost } from '../harness/growth.js'

const shown = (tokens: readonly Token[] | undefined): string[] | undefined =>
  tokens?.map(({ kind, text }) => `${kind} ${text}`)

test.each<[text: string, tokens: string[]]>([
  ['SELECT a.b FROM "My ""T"""', ['word select', 'word a', 'symbol .', 'word b', 'word from', 'quoted My "T"']],
  ['a$1 $1 $12', ['word a$1', 'symbol $', 'number 1', 'symbol $', 'number 12']],
  [
    "'it''s' E'it\\'s' b'01' X'ff' n'x'",
    ["string 'it''s'", "string E'it\\'s'", "string b'01'", "string X'ff'", "string n'x'"],
  ],
  ["E'\\\\' 'x'", ["string E'\\\\'", "string 'x'"]],
  ["E'\\\\''' 1", ["string E'\\\\'''", 'number 1']],
  ["'a\\' x", ["string 'a\\'", 'word x']],
  ['U&"d\\0061t" U&\'x\' u', ['quoted d\\0061t', "string U&'x'", 'word u']],
  ['$$a;$b$--$$ $t$ $$ $t$', ['string $$a;$b$--$$', 'string $t$ $$ $t$']],
  ['$ä1$ ; $ä1$', ['string $ä1$ ; $ä1$']],
  ['1.5e10+.5', ['number 1.5e10', 'symbol +', 'symbol .', 'number 5']],
  ['a--b\nc/* /* x */ */d-- e', ['word a', 'word c', 'word d']],
  ['a->b - -1', ['word a', 'symbol -', 'symbol >', 'word b', 'symbol -', 'symbol -', 'number 1']],
  ['été\u00a0 ÀB', ['word été\u00a0', 'word Àb']],
  [' \t\n\r\f\v', []],
  ['', []],
])('%j is cut as PostgreSQL does', (text, tokens) => {
  expect(shown(tokenize(text))).toEqual(tokens)
})

test.each(["'a", 'a "b', '/* /* */', '$$ $', "E'\\'", "E'a\\\\\\'", '$a$ $b$', 'U&"x', '/*/'])(
  '%j has no end',
  (text) => {
    expect(tokenize(text)).toBeUndefined()
  },
)

test('statements end at semicolons, but not at those within strings, names and comments', () => {
  const tokens = tokenize(`; SET a TO ';' -- ;\n; ; select "x;y" /* ; */, $q$;$q$;`)!
  expect(statements(tokens).map((statement) => statement.map((token) => token.text).join(' '))).toEqual([
    "set a to ';'",
    'select x;y , $q$;$q$',
  ])
})

test('a single statement is one, whatever semicolons stand around it', () => {
  expect(shown(singleStatement(';select 1;;'))).toEqual(['word select', 'number 1'])
  expect(singleStatement('select 1; select 2')).toBeUndefined()
  expect(singleStatement(' -- nothing')).toBeUndefined()
  expect(singleStatement("select '")).toBeUndefined()
})

test.each<[string, string | undefined]>([
  ["''", ''],
  ["'it''s'", "it's"],
  ['$$a$$', 'a'],
  ["$t$'$$\\\\$t$", "'$$\\\\"],
  ["'a\\b'", undefined],
  ["E'a'", undefined],
  ["N'a'", undefined],
  ["U&'a'", undefined],
  ['a', undefined],
])('the string %s stands for %j', (text, value) => {
  expect(stringValue(tokenize(text)![0]!)).toBe(value)
})

// Each piece with what it must be read as. They are joined with blanks or comments.
const name = fc.stringMatching(/^[a-zA-Z_éÉ][\w$é]{0,8}$/)
const anything = fc.string({ unit: fc.constantFrom("'", '"', '\\', '$', ';', '-', '/', '*', 'a', ' ', '\n', 'é') })
const piece: fc.Arbitrary<[raw: string, kind: Token['kind'], text: string]> = fc.oneof(
  name.map((raw): [string, Token['kind'], string] => [
    raw,
    'word',
    raw.replace(/[A-Z]/g, (letter) => letter.toLowerCase()),
  ]),
  anything.map((raw): [string, Token['kind'], string] => [`"${raw.replaceAll('"', '""')}"`, 'quoted', raw]),
  anything.map((raw): [string, Token['kind'], string] => {
    const text = `'${raw.replaceAll("'", "''")}'`
    return [text, 'string', text]
  }),
  anything.map((raw): [string, Token['kind'], string] => {
    const text = `e'${raw.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
    return [text, 'string', text]
  }),
  anything.map((raw): [string, Token['kind'], string] => {
    const text = `$tag$${raw}$tag$`
    return [text, 'string', text]
  }),
  fc.nat().map((raw): [string, Token['kind'], string] => [String(raw), 'number', String(raw)]),
  fc
    .constantFrom('(', ')', ',', '=', '+', ':', '[')
    .map((raw): [string, Token['kind'], string] => [raw, 'symbol', raw]),
)
const blank = fc.constantFrom(' ', '\n', '\t ', ' -- it\'s "\n', " /* ' $$ /* */ ; */ ")

test('whatever pieces a text is made of, those are its tokens, each at its place', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(piece, blank)), (parts) => {
      const text = parts.map(([[raw], between]) => raw + between).join('')
      const tokens = tokenize(text)!
      expect(tokens.map((token) => [token.kind, token.text])).toEqual(parts.map(([[, kind, read]]) => [kind, read]))
      expect(tokens.map((token) => text.slice(token.start, token.end))).toEqual(parts.map(([[raw]]) => raw))
    }),
  )
})

test('any text is cut in time that grows with its length', () => {
  for (const unit of ['/*', '$a$', "e'\\", '"a', '$a', '--', '/*/', "''", '\\', '$a$b']) {
    const text = unit.repeat(200_000)
    expect(
      cost(() => tokenize(text)),
      unit,
    ).toBeLessThan(2000)
  }
})
