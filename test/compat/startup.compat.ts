// What keeps a pooler from starting: the exit code and the last word, beside those of the pgbouncer of this machine.

import { spawn } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findFreePort } from '../../src/demo/port.js'
import { asUser, isRoot, makeFolder, Running, run } from '../process/command.js'
import { isOlder } from './compare.js'
import { files, main } from './files.js'
import { type Program, pgbouncer, pgbouncerVersion } from './program.js'

const version = pgbouncerVersion()

/** Starts it with these files, `DIR` and `PORT` filled in; `neutral` takes out of a text what differs from start to start. */
async function begin(program: Program, ini: string, args: readonly string[]) {
  const folder = makeFolder()
  const port = await findFreePort()
  const file = join(folder.path, 'pooler.ini')
  writeFileSync(file, ini.replaceAll('DIR', folder.path).replaceAll('PORT', String(port)))
  chmodSync(file, 0o644)
  const words = [...args, file]
  const running = program === 'pgbouncer' ? new Running(spawn(pgbouncer, words)) : run(words)
  return {
    running,
    folder: folder.path,
    neutral: (text: string): string => text.replaceAll(folder.path, 'DIR').replaceAll(`:${port}`, ':PORT'),
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

/** How it ends: exit code, and what it says. */
async function start(program: Program, ini: string, args: readonly string[] = asUser): Promise<string[]> {
  await using started = await begin(program, ini, args)
  const code = await started.running.ended
  return [`exit code ${code}`, ...started.running.lines().map(started.neutral)]
}

/** The last line that is FATAL, and the exit code. */
const verdictOf = (lines: readonly string[]): string[] => [
  lines[0]!,
  lines.findLast((line) => line.startsWith('FATAL')) ?? '',
]

/** Without what the system says, and how. */
function inOneWording(text: string): string {
  return text
    .replace(/(?:ENOENT: )?no such file or directory.*$/i, 'no such file or directory')
    .replace(/(open|write) pidfile/, 'open pidfile')
    .replace(/getaddrinfo.*/, 'getaddrinfo')
}

/** Starts it with these files, and gives `up`, or how it ends: exit code and the last FATAL line. */
async function outcome(program: Program, ini: string): Promise<string[]> {
  await using started = await begin(program, ini, asUser)
  const { running } = started
  const isUp = await running.says('process up: ').then(
    () => true,
    () => false,
  )
  if (isUp) return ['up']
  const code = await running.ended
  const fatal = running.lines().findLast((line) => line.startsWith('FATAL')) ?? ''
  return [`exit code ${code}`, inOneWording(fatal.replaceAll(started.folder, 'DIR'))]
}

/** Each with the error that names the place, in our words. */
const mistakes = {
  'an unknown setting': [`${main}nonsense = 1\n`, 'ERROR unknown parameter: pgbouncer/nonsense (DIR/pooler.ini:5)'],
  'a wrong value': [
    `${main}default_pool_size = many\n`,
    'ERROR invalid value "many" for parameter default_pool_size in configuration (DIR/pooler.ini:5): expected a whole number',
  ],
  'an unknown section': [`[nonsense]\n${main}`, 'ERROR invalid section "nonsense" in configuration (DIR/pooler.ini:1)'],
  'no main section': [
    '[databases]\napp = host=127.0.0.1\n',
    'ERROR main section missing from config file (DIR/pooler.ini:1)',
  ],
  'an unknown key': [
    `[databases]\napp = colour=red\n${main}`,
    'ERROR unrecognized connection parameter: colour (DIR/pooler.ini:2)',
  ],
  'a reserved name': [
    `[databases]\npgbouncer = host=x\n${main}`,
    'ERROR database name "pgbouncer" is reserved (DIR/pooler.ini:2)',
  ],
  'a line that is none': [`${main}nonsense\n`, 'ERROR syntax error in configuration (DIR/pooler.ini:5)'],
} as const

describe('a file with a mistake', () => {
  test.each(Object.entries(mistakes))('%s is named with file and line', async (_, [ini, error]) => {
    const lines = await start('tsbouncer', ini)
    expect(lines).toContainEqual(expect.stringContaining(error))
    expect(verdictOf(lines)).toEqual(['exit code 1', 'FATAL cannot load config file'])
  })

  test.skipIf(version === undefined).each(Object.entries(mistakes))('%s ends pgbouncer, too', async (_, [ini]) => {
    expect(verdictOf(await start('pgbouncer', ini))).toEqual(verdictOf(await start('tsbouncer', ini)))
  })
})

describe.skipIf(version === undefined)(`files that pgbouncer ${version} takes or refuses`, () => {
  const known = Object.entries(files).filter(([, { since }]) => since === undefined || !isOlder(version ?? '', since))

  test.each(known)('%s', async (_, { ini, ours: wanted }) => {
    const [theirs, ours] = await Promise.all([outcome('pgbouncer', ini), outcome('tsbouncer', ini)])
    expect(ours).toEqual(wanted ?? theirs)
    if (wanted !== undefined) expect(ours).not.toEqual(theirs)
  })
})

describe.skipIf(version === undefined)(`command lines beside pgbouncer ${version}`, () => {
  const say = async (program: Program, words: readonly string[]): Promise<string[]> => {
    await using running = program === 'pgbouncer' ? new Running(spawn(pgbouncer, [...words])) : run(words)
    const code = await running.ended
    const where = [running.stdout === '' ? '' : 'stdout', running.stderr === '' ? '' : 'stderr'].join('')
    return [`exit code ${code}`, where]
  }

  test.each([
    [['-V']],
    [['--version']],
    [['-h']],
    [['--help']],
    [[]],
    [['-x']],
    [['--nonsense']],
    [['-u']],
    [['one', 'two']],
    [['-q', '/absent/pooler.ini', '-V']],
    [[...asUser, '/absent/pooler.ini']],
    [['-q', ...asUser, '/absent/pooler.ini']],
  ])('%j', async (words) => {
    expect(await say('tsbouncer', words)).toEqual(await say('pgbouncer', words))
  })

  test('the version is on a line of its own, in the same words', async () => {
    await using theirs = new Running(spawn(pgbouncer, ['-V']))
    await using ours = run(['-V'])
    await Promise.all([theirs.ended, ours.ended])
    const [their, our] = [theirs, ours].map(({ stdout }) => stdout.split('\n', 1)[0])
    expect(their).toMatch(/^PgBouncer \d+\.\d+\.\d+$/)
    expect(our).toMatch(/^PgBouncer \d+\.\d+\.\d+ \(tsbouncer \S+\)$/)
  })
})

describe.skipIf(version === undefined)(`what else ends pgbouncer ${version}`, () => {
  const both = (ini: string, args?: readonly string[]) =>
    Promise.all([start('pgbouncer', ini, args), start('tsbouncer', ini, args)])

  test('a pid file of a process that lives', async () => {
    using folder = makeFolder()
    const pidfile = join(folder.path, 'other.pid')
    writeFileSync(pidfile, `${process.pid}\n`)
    chmodSync(pidfile, 0o644)
    const [theirs, ours] = await both(`${main}pidfile = ${pidfile}\n`)
    const unnamed = (lines: string[]) => verdictOf(lines).map((line) => line.replace(` '${pidfile}'`, ''))
    expect(unnamed(ours)).toEqual(unnamed(theirs)) // ours names it, as pgbouncer 1.26 does
  })

  test('-d without a pid file', async () => {
    const [theirs, ours] = await both(main, [...asUser, '-d'])
    expect(verdictOf(ours)).toEqual(verdictOf(theirs))
  })

  test.runIf(isRoot)('root', async () => {
    const [theirs, ours] = await both(main, [])
    expect(verdictOf(ours)[0]).toEqual(verdictOf(theirs)[0])
    expect(verdictOf(ours)[1]).toContain(verdictOf(theirs)[1]) // and how to go on
  })

  test('a Unix socket that is taken', async () => {
    using folder = makeFolder()
    const port = await findFreePort()
    const ini = main.replace('PORT', String(port)).replace('unix_socket_dir =', `unix_socket_dir = ${folder.path}`)
    const server = createServer().listen(join(folder.path, `.s.PGSQL.${port}`))
    try {
      chmodSync(join(folder.path, `.s.PGSQL.${port}`), 0o777)
      const [theirs, ours] = await both(ini.replace('listen_addr = 127.0.0.1', 'listen_addr ='))
      expect(verdictOf(ours)[0]).toEqual(verdictOf(theirs)[0])
      expect(verdictOf(ours)[1]).toContain(verdictOf(theirs)[1]) // and how to go on
    } finally {
      server.close()
    }
  })

  test('a port that is taken', async () => {
    const port = await findFreePort()
    const server = createServer().listen(port, '127.0.0.1')
    try {
      const [theirs, ours] = await both(main.replace('PORT', String(port)))
      expect([theirs[0], ours[0]]).toEqual(['exit code 1', 'exit code 1'])
      expect(verdictOf(ours)[1]).toMatch(new RegExp(`listen_addr: port ${port} of 127.0.0.1 is in use`))
    } finally {
      server.close()
    }
  })
})
