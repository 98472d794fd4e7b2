// The house rules that a reader can't see from one file: who imports whom, what hot files are free of, where time comes from.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

interface SourceFile {
  /** From the root of the repository, with slashes: `src/io/socket.ts`. */
  readonly path: string
  readonly text: string
  /** Its lines without comments, and without what stands in quotes. */
  readonly code: readonly string[]
}

function filesUnder(folder: string): SourceFile[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes('node_modules'))
    .sort()
    .map((path) => {
      const text = readFileSync(path, 'utf8')
      return { path: relative(root, path).replaceAll('\\', '/'), text, code: codeOf(text) }
    })
}

function codeOf(text: string): string[] {
  const blank = (match: string): string => match.replaceAll(/[^\n]/g, '')
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, blank)
    .replaceAll(/(^|\s)\/\/.*$/gm, '$1')
    .replaceAll(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''")
    .split('\n')
}

/** A file's line in the tree: its name, `*` if it is hot, and the first sentence of its header. */
function lineOf({ path, text }: SourceFile, width: number): string {
  const [, hot, header] = /^(?:#!.*\n)?(\/\/ hot path\n)?((?:\/\/ .*\n)+)/.exec(text)!
  const [sentence] = /^.*?[.?](?= |$)/.exec(
    header!
      .replaceAll(/^\/\/ /gm, '')
      .replaceAll('\n', ' ')
      .trim(),
  )!
  return basename(path).padEnd(width - 2) + (hot === undefined ? '  ' : '* ') + sentence
}

const sources = filesUnder('src')
const tests = filesUnder('test')

/** `io` for src/io/socket.ts, `pooler` for src/pooler.ts. */
function partOf(path: string): string {
  return path.split('/')[1]!.replace(/\.ts$/, '')
}

/** Parts of ours that a file imports, for types or values. */
function importsOf(file: SourceFile): string[] {
  const found = file.text.matchAll(/^(?:import|export)\b[^'"]*?from\s+'(\.[^']+)'|\bimport\(\s*'(\.[^']+)'\s*\)/gm)
  return [...found].map(([, from, dynamic]) => {
    const target = relative(root, join(root, dirname(file.path), (from ?? dynamic)!)).replaceAll('\\', '/')
    return partOf(target.replace(/\.js$/, '.ts'))
  })
}

/** docs/ARCHITECTURE.md, which has the tree and the table of imports. */
const page = join(root, 'docs/ARCHITECTURE.md')

describe('imports point down', () => {
  const mayImport: Record<string, string> = {
    protocol: '',
    io: '',
    observe: '',
    config: 'protocol',
    auth: 'protocol io config',
    relay: 'protocol io observe',
    'session-state': 'protocol io relay',
    server: 'protocol io observe config auth relay session-state',
    cancel: 'protocol io observe relay server',
    pool: 'protocol observe config auth relay session-state server cancel',
    client: 'protocol io observe config auth relay session-state server cancel pool',
    control: 'protocol observe config auth server cancel pool client',
    admin: 'protocol config control',
    pooler: 'io observe config auth relay session-state server cancel pool client control admin',
    index: 'protocol observe config control admin pooler',
    demo: '',
    process: 'protocol observe config auth server pooler demo',
  }

  test('every part of src is known', () => {
    expect([...new Set(sources.map(({ path }) => partOf(path)))].sort()).toEqual(Object.keys(mayImport).sort())
  })

  test.each(Object.entries(mayImport))('src/%s', (part, allowed) => {
    const known = new Set([part, ...allowed.split(' ')])
    const wrong = sources
      .filter(({ path }) => partOf(path) === part)
      .flatMap((file) =>
        importsOf(file)
          .filter((target) => !known.has(target))
          .map((target) => `${file.path} imports ${target}/`),
      )
    expect(wrong).toEqual([])
  })

  test('docs/ARCHITECTURE.md says the same', () => {
    const rows = readFileSync(page, 'utf8').matchAll(/^\| `([\w.-]+)` \| (.*) \|$/gm)
    const words = (cell: string): string => (cell === 'nothing of ours' ? '' : cell.replaceAll(/`|,|\.ts\b/g, ''))
    expect([...rows].map(([, part, imports]) => [words(part!), words(imports!)])).toEqual(
      Object.entries(mayImport).map(([part, imports]) => [part, imports]),
    )
  })

  test('the walk sees imports', () => {
    const pooler = sources.find(({ path }) => path === 'src/pooler.ts')!
    expect(importsOf(pooler)).toContain('pool')
    expect(importsOf({ path: 'src/io/x.ts', text: "import type { A } from '../pool/pool.js'", code: [] })).toEqual([
      'pool',
    ])
    expect(importsOf({ path: 'src/io/x.ts', text: "export {\n  a,\n} from '../auth/a.js'", code: [] })).toEqual([
      'auth',
    ])
    expect(importsOf({ path: 'src/io/x.ts', text: "const a = await import('../auth/a.js')", code: [] })).toEqual([
      'auth',
    ])
  })
})

describe('hot files', () => {
  const hot = sources.filter(({ text }) => text.startsWith('// hot path\n'))

  /** What does not belong where a line runs for each message. */
  const forbidden: readonly (readonly [what: string, pattern: RegExp])[] = [
    ['async, await or a promise', /\basync\b|\bawait\b|\bPromise\b/],
    ['a closure', /=>|\bfunction\s*\(|\.bind\(/],
    ['a spread or rest', /\.\.\./],
    ['new', /\bnew [A-Z]/],
  ]

  /** Lines that may, each with its reason; the pattern is of the line. */
  const allowed: readonly (readonly [path: string, pattern: RegExp, reason: string])[] = [
    [
      'src/io/socket.ts',
      /Socket\.plain\(\(onread\)|const callback =|self = new Socket|stream\.on\(/,
      'once a connection',
    ],
    ['src/io/socket.ts', /static plain\(open: /, 'a type'],
    ['src/io/socket.ts', /setTimeout\(/, 'once a close'],
    ['src/observe/stats.ts', /new Counters\(\)/, 'once a stats_period'],
    ['src/protocol/framing.ts', /new ArrayBuffer\(/, 'a long message that comes in pieces'],
    ['src/relay/outstanding.ts', /new Array\(size\)/, 'a queue that grows, by doubling'],
    ['src/relay/outstanding.ts', /new Array\(16\)/, 'a queue that had grown long, and is empty'],
    ['src/pool/pool.ts', /return \[\.\.\.this\.active/, 'for SHOW'],
    ['src/pool/pool.ts', /throw new Error\(/, 'a defect of ours'],
    ['src/pool/pool.ts', /arrived = \[/, 'once a connection'],
    ['src/relay/statements/statement-table.ts', /new Statement\(/, 'a text seen for the first time'],
    [
      'src/relay/statements/prepared-notes.ts',
      /new PreparedNote\(|: PreparedNote =>$/,
      'once for a Parse or Close of a name',
    ],
    ['src/relay/statements/replay.ts', /new OwnQuery\(\)/, 'a plan gone stale'],
    ['src/relay/statements/client-statements.ts', /new Named\(/, 'once for a Parse of a name'],
    ['src/relay/server-copy.ts', /new CopyInquiry\(|new OwnQuery\(/, 'a COPY that failed'],
    ['src/relay/server-relay.ts', /new ConnectionLost\(/, 'once a connection'],
    ['src/relay/client-relay.ts', /new PgError\(/, 'the end of a connection'],
    ['src/client/pooled-client.ts', /new PgError\(/, 'the end of a client, or of its wait'],
    ['src/pool/pool.ts', /new Lease\(/, 'once for each time a server is lent'],
    ['src/relay/statements/statement-use.ts', /new ShapeNote\(/, 'rows that a server has not told of before'],
    ['src/relay/statements/statement-names.ts', /new Renamed\(/, 'a message that will be refused'],
    ['src/relay/statements/statement-use.ts', /new Renamed\(/, 'a message that will be refused'],
  ]

  /** Lines that run once for each object or for the module: declarations of fields, constructors, constants. */
  function runsOnce(file: SourceFile): Set<number> {
    const once = new Set<number>()
    let inConstructor = false
    let inFunction = false
    for (const [index, line] of file.code.entries()) {
      if (/^ {2}(?:private |protected )?constructor\(/.test(line)) inConstructor = true
      if (/^(?:export )?(?:async )?function /.test(line)) inFunction = true
      const isField = /^ {2}(?:(?:private|protected|readonly|static|declare|override) )*#?\w+[?!]?(?:: [^=]+)? = /.test(
        line,
      )
      if (inConstructor || isField || (!inFunction && /^[^ }]/.test(line))) once.add(index)
      if (/^ {2}\}/.test(line)) inConstructor = false
      if (/^\}/.test(line)) inFunction = false
    }
    return once
  }

  test('there are some, and those of the design are among them', () => {
    const paths = hot.map(({ path }) => path)
    for (const part of [
      'protocol/framing',
      'io/socket',
      'relay/outstanding',
      'pool/pool',
      'client/pooled-client',
      'relay/statements/statement-table',
      'relay/client-relay',
      'relay/server-relay',
      'observe/stats',
      'observe/histogram',
    ]) {
      expect(paths).toContain(`src/${part}.ts`)
    }
  })

  function findingsIn(file: SourceFile): { path: string; line: number; what: string; code: string }[] {
    const once = runsOnce(file)
    return file.code.flatMap((line, index) =>
      once.has(index)
        ? []
        : forbidden
            .filter(([, pattern]) => pattern.test(line))
            .map(([what]) => ({ path: file.path, line: index + 1, what, code: line.trim() })),
    )
  }

  test('the walk sees what is made in methods and functions, and only there', () => {
    const text = [
      'const table = new Map()',
      'export class A {',
      '  private list: (A | null)[] = new Array(16).fill(null)',
      '  readonly call = (): void => {}',
      '  constructor() {',
      '    this.b = new B()',
      '  }',
      '  method(): void {',
      '    // new in a comment, ... too',
      "    this.text = 'new Text ...'",
      '    const c = new C()',
      '    list.forEach((item) => item)',
      '    f(...list)',
      '  }',
      '}',
      'export async function g(): Promise<void> {',
      '  await h()',
      '}',
    ].join('\n')
    const found = findingsIn({ path: 'x', text, code: codeOf(text) })
    expect(found.map(({ line }) => line)).toEqual([11, 12, 13, 16, 17])
  })

  const findings = hot.flatMap(findingsIn)

  test('nothing in them is made for each message, but for what has a reason', () => {
    const wrong = findings.filter(
      ({ path, code }) => !allowed.some(([where, pattern]) => where === path && pattern.test(code)),
    )
    expect(wrong.map(({ path, line, what, code }) => `${path}:${line} has ${what}: ${code}`)).toEqual([])
  })

  test('no reason has outlived its line', () => {
    const unused = allowed.filter(
      ([where, pattern]) => !findings.some(({ path, code }) => path === where && pattern.test(code)),
    )
    expect(unused.map(([path, pattern]) => `${path} ${pattern}`)).toEqual([])
  })
})

describe('files', () => {
  test('none has more than 400 lines', () => {
    const long = sources.map(({ path, text }) => [path, text.split('\n').length - 1] as const)
    expect(long.filter(([, lines]) => lines > 400)).toEqual([])
  })

  test('each is named for what it has, in kebab case', () => {
    const names = [...sources, ...tests].map(({ path }) => path)
    expect(
      names.filter((path) => /(?:^|\/)(?:utils?|helpers?|common|types?|misc|shared|lib)(?:\/|\.)/.test(path)),
    ).toEqual([])
    expect(
      names.filter((path) => !/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.(?:test|config|compat|drill))?\.ts$/.test(basename(path))),
    ).toEqual([])
  })

  test('each of src begins by saying what it is', () => {
    const silent = sources.filter(({ text }) => !/^(?:#!.*\n)?(?:\/\/ hot path\n)?\/\/ \S.*\n/.test(text))
    expect(silent.map(({ path }) => path)).toEqual([])
  })

  test('docs/ARCHITECTURE.md has the tree of what they say', () => {
    const heart = [
      'relay',
      'relay/statements',
      'session-state',
      'server',
      'server/topology',
      'cancel',
      'pool',
      'client',
    ]
    const order = [
      'protocol',
      'io',
      'observe',
      'config',
      'auth',
      ...heart,
      'control',
      'admin',
      'admin/show',
      '',
      'demo',
      'process',
    ]
    const folderOf = (path: string): string => dirname(path).replace(/^src\/?/, '')
    expect([...new Set(sources.map(({ path }) => folderOf(path)))].sort()).toEqual([...order].sort())
    const lines = order.flatMap((folder) => {
      const files = sources.filter(({ path }) => folderOf(path) === folder)
      if (folder === '') return files.reverse().map((file) => `  ${lineOf(file, 26)}`)
      return [`  ${folder}/`, ...files.map((file) => `    ${lineOf(file, 24)}`)]
    })
    const tree = ['```', 'src/', ...lines, '```'].join('\n')
    const before = readFileSync(page, 'utf8')
    const after = before.replace(/```\nsrc\/\n[\s\S]*?```/, () => tree)
    if (process.env.UPDATE_DOCS === '1') writeFileSync(page, after)
    else expect(before).toBe(after)
  })

  test('the picture of a transaction in docs/ARCHITECTURE.md has the names of the code', () => {
    const picture = /```mermaid\n([\s\S]*?)```/.exec(readFileSync(page, 'utf8'))?.[1] ?? ''
    const all = sources.map(({ text }) => text).join('\n')
    const parties = [...picture.matchAll(/participant (\w+)/g)].map(([, name]) => name!)
    const peers = ['Client', 'PostgreSQL']
    const unknown = parties.filter((name) => !peers.includes(name) && !new RegExp(`class ${name}\\b`).test(all))
    const methods = [...picture.matchAll(/(\w+)\(\)/g)].map(([, name]) => name!)
    expect(methods.length).toBeGreaterThan(20)
    const made = (name: string): boolean => new RegExp(`^(?: {2}|export function )(?:\\w+ )*${name}\\(`, 'm').test(all)
    expect([...unknown, ...methods.filter((name) => !made(name))]).toEqual([])
  })

  test('there are named exports only, and no barrels but index.ts', () => {
    const wrong = sources.filter(
      ({ path, code }) => path !== 'src/index.ts' && code.some((line) => /^export (?:default|\*)/.test(line)),
    )
    expect(wrong.map(({ path }) => path)).toEqual([])
  })

  test('doc comments state, they do not ask', () => {
    const question = /^\s*(?:\/\*\*|\*) (?:Is|Does|Do|Has|Had|May|Are|Was|Were|Can|Will|Did|Must|Should) [^.]*\?/
    const asking = sources.flatMap(({ path, text }) =>
      text.split('\n').flatMap((line, index) => (question.test(line) ? [`${path}:${index + 1} ${line.trim()}`] : [])),
    )
    expect(asking).toEqual([])
  })

  test('nothing speaks of how it came to be', () => {
    const wrong = [...sources, ...tests].filter(
      ({ path, text }) => path !== 'test/architecture.test.ts' && /\/work\/|\bTODO\b|\bFIXME\b|as an AI/.test(text),
    )
    expect(wrong.map(({ path }) => path)).toEqual([])
  })
})

describe('members of classes', () => {
  const member =
    /^ {2}(?:(?:private|protected|readonly|static|override|abstract|async|get|set|declare) )*\*?([a-zA-Z_]\w*)[?!]?(?=\(|<|:| =|$)/

  /** Whom somebody else calls: Node.js, JSON.stringify, tests. */
  const calledElsewhere: readonly (readonly [path: string, names: string])[] = [
    ['src/io/in-process.ts', '_read _writev _destroy resetAndDestroy'],
    ['src/config/secret.ts', 'toJSON'],
    ['src/io/socket.ts', 'isDirect'],
    ['src/demo/embedded.ts', 'copyRunningTo'], // what the failover drill clones hosts with
  ]

  function unusedIn(files: readonly SourceFile[]): string[] {
    const declared = new Map<string, string>()
    const used = new Set<string>()
    for (const { path, code } of files) {
      let block = ''
      for (const line of code) {
        block = line.startsWith('}') ? '' : (/^(?:export )?(?:abstract )?(class|interface)\b/.exec(line)?.[1] ?? block)
        const [head = '', name = 'constructor'] = (block === '' ? null : member.exec(line)) ?? []
        if (block === 'class' && name !== 'constructor') declared.set(name, `${path} ${name}`)
        for (const [word] of line.slice(head.length).matchAll(/[a-zA-Z_]\w*/g)) used.add(word)
      }
    }
    return [...declared].filter(([name]) => !used.has(name)).map(([, where]) => where)
  }

  test('there are none that nobody calls', () => {
    const known = calledElsewhere.flatMap(([path, names]) => names.split(' ').map((name) => `${path} ${name}`))
    expect(unusedIn(sources).sort()).toEqual(known.sort())
  })

  test('the walk sees them', () => {
    const text = [
      'export class A {',
      '  private used = 1',
      '  get other(): number {',
      '    return this.used',
      '  }',
      '}',
    ]
    expect(unusedIn([{ path: 'a.ts', text: '', code: text }])).toEqual(['a.ts other'])
  })
})

describe('time, process and console come from outside', () => {
  const free = new Set(['io', 'observe', 'process', 'demo'])
  const ambient =
    /(?<![\w.])(?:new Date\b|(?:Date|performance|process|console)\.\w|set(?:Timeout|Interval|Immediate)\((?!\):))/

  test('but in io, observe, process and demo', () => {
    const wrong = sources
      .filter(({ path }) => !free.has(partOf(path)))
      .flatMap(({ path, code }) =>
        code.flatMap((line, index) => (ambient.test(line) ? [`${path}:${index + 1} ${line.trim()}`] : [])),
      )
    expect(wrong).toEqual([])
  })
})

test('the public surface has grown by nobody’s accident', async () => {
  expect(Object.keys(await import('../src/index.js')).sort()).toEqual([
    'AdminError',
    'ConfigError',
    'PgError',
    'createLog',
    'createPooler',
    'loadConfig',
    'logTo',
    'silentLog',
  ])
})
