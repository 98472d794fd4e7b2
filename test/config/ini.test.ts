import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConfigError } from '../../src/config/config-error.js'
import { type IniItem, readIni } from '../../src/config/ini.js'

type Files = Readonly<Record<string, string>>

/** Reads from texts instead of files; the first one is the main file. */
function read(files: Files | string): Promise<IniItem[]> {
  const texts: Files = typeof files === 'string' ? { 'a.ini': files } : files
  return readIni(Object.keys(texts)[0]!, async (path) => {
    const text = texts[path]
    if (text === undefined) throw Object.assign(new Error(`ENOENT: open '${path}'`), { errno: -2, code: 'ENOENT' })
    return text
  })
}

async function entries(files: Files | string): Promise<string[]> {
  const items = await read(files)
  return items.map((item) => (item.kind === 'section' ? `[${item.name}]` : `${item.section}.${item.key}=${item.value}`))
}

async function failure(files: Files | string): Promise<ConfigError> {
  const error = await read(files).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof ConfigError)) throw new Error('expected a ConfigError', { cause: error })
  return error
}

test('sections, keys and values are read in order, each with file and line', async () => {
  expect(await read('[pgbouncer]\n\n; comment\n  listen_port = 6432  \n# another\n[users]\nsam =\n')).toEqual([
    { kind: 'section', name: 'pgbouncer', place: { file: 'a.ini', line: 1 } },
    { kind: 'entry', section: 'pgbouncer', key: 'listen_port', value: '6432', place: { file: 'a.ini', line: 4 } },
    { kind: 'section', name: 'users', place: { file: 'a.ini', line: 6 } },
    { kind: 'entry', section: 'users', key: 'sam', value: '', place: { file: 'a.ini', line: 7 } },
  ])
})

test.each([
  ['blanks and tabs around = do not count', '[s]\n\tk\t = \t v\t \r\n', 's.k=v'],
  ['a value is the rest of the line: quotes, ; and # belong to it', `[s]\nk = 'v' ; x # y`, "s.k='v' ; x # y"],
  ['a key may hold _ . * and -', '[s]\n*.a-b_1=v', 's.*.a-b_1=v'],
  ['a key in single quotes may hold anything', '[s]\n\'my db; = "x"\'=v', 's.my db; = "x"=v'],
  ['a key in double quotes may hold anything', '[s]\n"my db\'s" = v', "s.my db's=v"],
  ['a doubled quote in a quoted key is one quote', "[s]\n'it''s' = v", "s.it's=v"],
  ['an entry may follow a section header on its line', '[s] k = v', 's.k=v'],
  ['a byte order mark is skipped', '\ufeff[s]\nk = v', 's.k=v'],
])('%s', async (_, text, expected) => {
  expect((await entries(text)).slice(1)).toEqual([expected])
})

test('the same key may come twice; both are there, for the last one to win', async () => {
  expect(await entries('[s]\nk=1\nk=2')).toEqual(['[s]', 's.k=1', 's.k=2'])
})

test('%include reads another file in place, and sections go on in and out of it', async () => {
  const files = {
    'a.ini': '[s]\n%include dir/b.ini\nk=3\n',
    'dir/b.ini': 'k=1\n%include\t c.ini  \n[t]\n',
    'c.ini': 'k=2',
  }
  expect(await entries(files)).toEqual(['[s]', 's.k=1', 's.k=2', '[t]', 't.k=3'])
  expect((await read(files)).at(2)?.place).toEqual({ file: 'c.ini', line: 1 })
})

test('ten levels of includes are read, the eleventh is refused', async () => {
  const chain = (length: number): Files =>
    Object.fromEntries(
      Array.from({ length: length + 1 }, (_, i) => [`${i}.ini`, i === length ? '[s]' : `\n%include ${i + 1}.ini`]),
    )
  expect(await entries(chain(10))).toEqual(['[s]'])
  const error = await failure(chain(11))
  expect(error.message).toBe('include nesting level too deep (10.ini:2)')
})

test('a file that includes itself, even through another, is refused', async () => {
  expect((await failure('%include ./a.ini')).message).toBe('file "./a.ini" includes itself (a.ini:1)')
  const error = await failure({ 'a.ini': '%include b.ini', 'b.ini': '\n%include a.ini' })
  expect(error).toMatchObject({ file: 'b.ini', line: 2 })
})

test('includes that multiply breadthwise are cut off', async () => {
  const files = Object.fromEntries(
    Array.from({ length: 10 }, (_, i) => [`${i}.ini`, `%include ${i + 1}.ini\n`.repeat(i === 9 ? 0 : 10)]),
  )
  expect((await failure(files)).message).toMatch(/^more than 1000 files included \(\d\.ini:\d+\)$/)
})

test('a missing file is named, and so is the line that includes it', async () => {
  expect((await failure('[s]\n%include gone.ini')).message).toBe(
    'could not load file "gone.ini" (a.ini:2): no such file or directory',
  )
  await expect(readIni('/nonexistent/x.ini')).rejects.toThrow(
    'could not load file "/nonexistent/x.ini": no such file or directory',
  )
})

test.each([
  ['[s', "']' is missing"],
  ['[s\n]', "']' is missing"],
  ['key', "expected 'key = value'"],
  ['key value', "expected 'key = value'"],
  ['= value', "expected '[section]' or 'key = value'"],
  ['%includefile', "expected '[section]' or 'key = value'"],
  ['%include \nx', '%include names no file'],
  ['"key = value', 'unterminated quote'],
  ["'' = value", 'the key is empty'],
  ["'a' b = value", "expected 'key = value'"],
  ['key = a\0b', 'zero byte'],
  ['%include a\udcffb', 'not valid UTF-8'],
])('%j is a syntax error with file and line', async (line, reason) => {
  const error = await failure(`[s]\n; comment\n${line}\nk = v`)
  expect(error.message).toBe(`syntax error in configuration (a.ini:3): ${reason}`)
  expect(error).toMatchObject({ file: 'a.ini', line: 3, text: `syntax error in configuration: ${reason}` })
})

test('a value before any section is refused', async () => {
  expect((await failure('k = v')).message).toBe('value without section: "k" (a.ini:1)')
})

// -- round trips -------------------------------------------------------------------------------------------------------

const oneLine = fc.string({ unit: 'binary' }).filter((text) => !/[\n\0]/.test(text))
const value = oneLine.map((text) => text.replace(/^[ \t]+/, '').replace(/[ \t\v\f\r]+$/, ''))
const plainKey = fc.stringMatching(/^[A-Za-z0-9_.*-]+$/)
const quotedKey = fc.tuple(oneLine, fc.constantFrom("'", '"')).filter(([text]) => text !== '')
const blank = fc.stringMatching(/^[ \t]{0,3}$/)
const filler = fc.constantFrom('', '; comment [x]\n', '  # k = v\n', '\n \n', '\t\r\n')

const writtenEntry = fc.oneof(
  fc.record({ key: plainKey, written: fc.constant(undefined), value }),
  quotedKey.chain(([key, quote]) =>
    fc.record({
      key: fc.constant(key),
      written: fc.constant(quote + key.replaceAll(quote, quote + quote) + quote),
      value,
    }),
  ),
)

test('whatever is written is read back, with its line', async () => {
  const line = fc.record({ entry: writtenEntry, before: blank, left: blank, right: blank, filler })
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 20 }), async (lines) => {
      let text = '[s]\n'
      const expected: unknown[] = []
      for (const { entry, before, left, right, filler } of lines) {
        text += filler
        const place = { file: 'a.ini', line: text.split('\n').length }
        text += `${before}${entry.written ?? entry.key}${left}=${right}${entry.value}\n`
        expected.push({ kind: 'entry', section: 's', key: entry.key, value: entry.value, place })
      }
      expect((await read(text)).slice(1)).toEqual(expected)
    }),
  )
})

test('any text is read, or refused with a place in it', async () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('[', ']', "'", '"', '=', '\n', '%include ', ' ', ';'),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(piece), async (pieces) => {
      const text = pieces.join('')
      await read(text).catch((error: unknown) => {
        expect(error).toBeInstanceOf(ConfigError)
        const { file, line } = error as ConfigError
        expect(file).toBe('a.ini')
        expect(line).toBeGreaterThanOrEqual(1)
        expect(line).toBeLessThanOrEqual(text.split('\n').length)
      })
    }),
  )
})

test.each(['[', "'", '"a"', ' ', ';', '=', '\n', 'k', 'k=v\n', '[s]', '%include ', '\r'])(
  'much of %j takes no long time',
  async (piece) => {
    const started = performance.now()
    await read(`[s]\n${piece.repeat(300_000 / piece.length)}`).catch((error: unknown) => {
      expect(error).toBeInstanceOf(ConfigError)
      expect((error as Error).message.length).toBeLessThan(1000)
    })
    expect(performance.now() - started).toBeLessThan(10_000)
  },
)
