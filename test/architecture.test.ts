// The rules of docs/ARCHITECTURE.md, held against the source text: who imports whom, what hot files do without, how files look.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { expect, test } from 'vitest'

const root = new URL('../', import.meta.url).pathname
const src = join(root, 'src')
const pageFile = join(root, 'docs/ARCHITECTURE.md')
const page = readFileSync(pageFile, 'utf8')

const files = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort()
const textOf = (name: string): string => readFileSync(join(src, name), 'utf8')
/** Without comments and texts, in which any word may stand. */
const codeOf = (name: string): string =>
  textOf(name)
    .replaceAll(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, '')
    .replaceAll(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g, "''")
/** The folder it lies in, or its own name at the top. */
const part = (name: string): string => (dirname(name) === '.' ? basename(name) : name.split('/')[0]!)

/** Which parts of ours a part may import; every part may import itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  io: [],
  observe: [],
  config: [],
  auth: ['protocol', 'config'],
  pool: ['protocol', 'config', 'io', 'observe', 'auth'],
  admin: ['protocol', 'config', 'observe', 'pool'],
  'pooler.ts': ['protocol', 'config', 'io', 'observe', 'auth', 'pool', 'admin'],
  'index.ts': ['protocol', 'config', 'observe', 'pool', 'pooler.ts'],
  demo: ['config', 'observe', 'pooler.ts'],
  process: ['config', 'observe', 'pooler.ts', 'demo'],
}

function importsOf(name: string): string[] {
  const found = [...textOf(name).matchAll(/(?:from|import\(?) ?'(\.[^']+)'/g)].map(([, path]) => path!)
  return found.map((path) => part(join(dirname(name), path).replace(/\.js$/, '.ts')))
}

test('imports point down', () => {
  const wrong = files.flatMap((name) => {
    const allowed = [part(name), ...(mayImport[part(name)] ?? [])]
    return importsOf(name)
      .filter((target) => !target.startsWith('..') && !allowed.includes(target))
      .map((target) => `${name} imports ${target}`)
  })
  expect(wrong).toEqual([])
})

test('the page tells the same of who may import whom', () => {
  for (const [name, targets] of Object.entries(mayImport)) {
    const row = targets.length === 0 ? 'nothing of ours' : targets.map((target) => `\`${target}\``).join(', ')
    expect(page).toContain(`| \`${name}\` | ${row} |\n`)
  }
  expect(new Set(files.map(part))).toEqual(new Set(Object.keys(mayImport)))
})

/** The first sentence of a file, and whether it is on the hot path. */
function headOf(name: string): { readonly isHot: boolean; readonly text: string } {
  const [, hot, comment = ''] = /^(?:#!.*\n)?(\/\/ hot path\n)?((?:\/\/ .*\n)+)/.exec(textOf(name)) ?? []
  const text = comment
    .replaceAll(/^\/\/ /gm, '')
    .trim()
    .replaceAll('\n', ' ')
  return { isHot: hot !== undefined, text: /^.*?[.?](?= [A-Z]| https?:|$)/.exec(text)?.[0] ?? text }
}

/** From the bottom up, a folder's own files before those of the folders in it. */
function renderTree(): string {
  const lines = ['src/']
  for (const name of Object.keys(mayImport)) {
    const folders = new Set(files.filter((file) => part(file) === name).map((file) => dirname(file)))
    for (const folder of [...folders].sort()) {
      if (folder !== '.') lines.push(`  ${folder}/`)
      const indent = folder === '.' ? '  ' : '    '
      const inFolder = files.filter((file) => dirname(file) === folder && (folder !== '.' || file === name))
      for (const file of inFolder) {
        const { isHot, text } = headOf(file)
        lines.push(`${indent}${basename(file).padEnd(26 - indent.length)}${isHot ? '* ' : '  '}${text}`)
      }
    }
  }
  return `\`\`\`\n${lines.join('\n')}\n\`\`\`\n`
}

test('the tree on the page is the tree that there is', () => {
  const block = /```\nsrc\/\n[\s\S]*?```\n/
  const tree = renderTree()
  if (process.env.UPDATE_DOCS === '1')
    writeFileSync(
      pageFile,
      page.replace(block, () => tree),
    )
  expect(readFileSync(pageFile, 'utf8')).toContain(tree)
})

const hot = files.filter((name) => textOf(name).startsWith('// hot path\n'))
/** Hot files with cold parts of their own: making and ending connections, moving servers between states. */
const partlyCold = ['io/socket.ts', 'pool/pool.ts']

test('the way of a byte is marked as hot', () => {
  const expected = ['protocol/framing.ts', 'io/socket.ts', 'io/gather.ts', 'pool/exchange.ts']
  expect(hot).toEqual(expect.arrayContaining([...expected, 'pool/client-relay.ts', 'pool/server-relay.ts']))
})

test.each(hot)('%s has no promises, and where it is all hot neither closures nor spreads', (name) => {
  const code = codeOf(name)
  expect(code).not.toMatch(/\basync\b|\bawait [^=]|\bPromise\b/)
  if (!partlyCold.includes(name)) expect(code).not.toMatch(/[^.]\.\.\.[^.]|\) => [^,)]*[{(]/)
})

test('clocks, timers, the process and the console are for the outer parts', () => {
  const outer = ['io', 'observe', 'process', 'demo']
  const wrong = files.filter(
    (name) =>
      !outer.includes(part(name)) &&
      /\b(new Date\b|Date\.now|set(Timeout|Interval|Immediate)\((?!\))|(?<!\.)console\.|process\.(?!nextTick|platform)\w)/.test(
        codeOf(name),
      ),
  )
  expect(wrong).toEqual([])
})

test.each(files)(
  '%s begins with what it is, has a name like the others, and is no longer than one can read',
  (name) => {
    const text = textOf(name)
    expect(text).toMatch(/^(#!.*\n|\/\/ hot path\n)?\/\/ \S/)
    expect(basename(name)).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*\.ts$/)
    expect(basename(name)).not.toMatch(/^(utils?|helpers?|common|types)\.ts$/)
    expect(text.split('\n').length).toBeLessThanOrEqual(401)
    expect(text).not.toMatch(/^export default/m)
    if (name !== 'index.ts') expect(text).not.toMatch(/^export \*/m)
  },
)
