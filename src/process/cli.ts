// The words of the command line: pgbouncer's own, and the commands `demo`, `ping` and `docker-entrypoint`.

import yargs, { type Argv } from 'yargs'
import { versionText } from '../observe/version.js'

/** Run the pooler. */
export interface ServeCommand {
  readonly name: 'serve'
  readonly file: string
  readonly daemon: boolean
  readonly quiet: boolean
  readonly reboot: boolean
  readonly user: string | undefined
  /** How often -v was given. */
  readonly verbose: number
}

/** Show it to a newcomer, with PostgreSQL servers of its own. */
export interface DemoCommand {
  readonly name: 'demo'
  readonly port: number
  readonly data: string | undefined
  readonly keep: boolean
  /** Ends by itself when it has shown a switchover. */
  readonly failover: boolean
}

/** Asks whether the pooler of this configuration answers. */
export interface PingCommand {
  readonly name: 'ping'
  readonly file: string
}

/** Configure from the environment, then run what a container is to run. */
export interface DockerEntrypointCommand {
  readonly name: 'docker-entrypoint'
  /** In front of /etc/pgbouncer; for tests. */
  readonly root: string
  readonly words: readonly string[]
}

/** Say this and end; it is said on standard error unless the exit code is 0. */
export interface SayCommand {
  readonly name: 'say'
  readonly text: string
  readonly exitCode: 0 | 1
}

export type Command = ServeCommand | DemoCommand | PingCommand | DockerEntrypointCommand | SayCommand

/** @param program what the command is called: tsbouncer or pgbouncer */
export async function parseCommandLine(words: readonly string[], program: string): Promise<Command> {
  const [name, ...rest] = words
  try {
    switch (name) {
      case 'demo':
        return await parseDemo(rest, program)
      case 'ping':
        return await parsePing(rest, program)
      case 'docker-entrypoint':
        return parseDockerEntrypoint(rest)
      default:
        return await parseServe(lettersApart(words), program)
    }
  } catch (error) {
    const usage = usages.find(([command]) => command === name)?.[1] ?? serveUsage
    const help = name === 'demo' || name === 'ping' ? `${program} ${name} --help` : `${program} --help`
    const text = `${program}: ${(error as Error).message}\nUsage: ${program} ${usage}\nTry "${help}" for more information.`
    return { name: 'say', text, exitCode: 1 }
  }
}

/** What --version prints: tools read the first line, people the others. */
function versionLines(): string {
  const { node, uv, openssl } = process.versions
  return `${versionText}\nnode v${node}\nlibuv ${uv}\ntls: OpenSSL ${openssl}`
}

const serveUsage = '[-d] [-q] [-R] [-u USER] [-v...] CONFIG_FILE'
const demoUsage = 'demo [--port N] [--data DIR] [--keep] [--failover]'
const pingUsage = 'ping CONFIG_FILE'
const usages: readonly (readonly [name: string, usage: string])[] = [
  ['', serveUsage],
  ['demo', demoUsage],
  ['ping', pingUsage],
  ['docker-entrypoint', 'docker-entrypoint [--root DIR] [COMMAND ...]'],
]

async function parseServe(words: readonly string[], program: string): Promise<Command> {
  const parser = plainParser(program)
    .usage(
      `A connection pooler for PostgreSQL.\n\nUsage:\n${usages.map(([, usage]) => `${program} ${usage}`).join('\n')}`,
    )
    .strictOptions()
    .option('daemon', { alias: 'd', type: 'boolean', describe: 'run in background (as a daemon)' })
    .option('quiet', { alias: 'q', type: 'boolean', describe: 'write nothing to standard error' })
    .option('reboot', { alias: 'R', type: 'boolean', describe: 'online restart: refused, use so_reuseport' })
    .option('user', { alias: 'u', type: 'string', requiresArg: true, describe: 'become this user, if started as root' })
    .option('verbose', { alias: 'v', type: 'count', describe: 'log more; -vv still more' })
    .option('version', { alias: 'V', type: 'boolean', describe: 'show version, then exit' })
  const given = await parser.parseAsync(words)
  if (given.help) return { name: 'say', text: await parser.getHelp(), exitCode: 0 }
  if (given.version) return { name: 'say', text: versionLines(), exitCode: 0 }
  const [file, ...more] = given._.map(String)
  if (file === undefined) throw new Error('no configuration file specified')
  if (more.length > 0) throw new Error(`one configuration file only, not also ${more.join(' ')}`)
  const { daemon = false, quiet = false, reboot = false, user, verbose } = given
  return { name: 'serve', file, daemon, quiet, reboot, user, verbose }
}

async function parseDemo(words: readonly string[], program: string): Promise<Command> {
  const what = 'An embedded PostgreSQL primary and standby with the pooler in front, for trying it out.'
  const parser = plainParser(program)
    .usage(`${what}\n\nUsage:\n${program} ${demoUsage}`)
    .strict()
    .option('port', { type: 'string', requiresArg: true, describe: 'port of the pooler; without it, 5439' })
    .option('data', { type: 'string', requiresArg: true, describe: 'folder for everything, kept and used again' })
    .option('failover', { type: 'boolean', describe: 'show what clients see when the primary moves, and end' })
    .option('keep', { type: 'boolean', describe: 'keep the temporary folder that is used without --data' })
  const given = await parser.parseAsync(words)
  if (given.help) return { name: 'say', text: await parser.getHelp(), exitCode: 0 }
  const { port = '5439', data, keep = false, failover = false } = given
  if (failover && data !== undefined) throw new Error('--failover needs a new cluster: it goes without --data')
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535) throw new Error(`--port ${port}: expected 1 to 65535`)
  return { name: 'demo', port: Number(port), data, keep, failover }
}

async function parsePing(words: readonly string[], program: string): Promise<Command> {
  const what = 'Does the pooler of this configuration answer? The exit code is 0 if it does, or else 1.'
  const parser = plainParser(program).usage(`${what}\n\nUsage:\n${program} ${pingUsage}`).strictOptions()
  const given = await parser.parseAsync(words)
  if (given.help) return { name: 'say', text: await parser.getHelp(), exitCode: 0 }
  const [file, ...more] = given._.map(String)
  if (file === undefined) throw new Error('no configuration file specified')
  if (more.length > 0) throw new Error(`one configuration file only, not also ${more.join(' ')}`)
  return { name: 'ping', file }
}

/** What follows belongs to the command that is to run, flags and all. */
function parseDockerEntrypoint(words: readonly string[]): Command {
  if (words[0] !== '--root') return { name: 'docker-entrypoint', root: '', words }
  const [, root, ...rest] = words
  if (!root) throw new Error('Not enough arguments following: root')
  return { name: 'docker-entrypoint', root, words: rest }
}

/** yargs, with the words taken as they stand, and without a say of its own in what is printed and when to end. */
function plainParser(program: string): Argv<{ help: boolean | undefined }> {
  return yargs()
    .scriptName(program)
    .locale('en')
    .exitProcess(false)
    .fail(false)
    .version(false)
    .help(false)
    .option('help', { alias: 'h', type: 'boolean', describe: 'show this help, then exit' })
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'duplicate-arguments-array': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
    })
}

/** As getopt(3): letters may be joined, and the user may follow the `u` at once: `-dvupostgres` is `-d -v -u postgres`. */
function lettersApart(words: readonly string[]): string[] {
  const end = words.includes('--') ? words.indexOf('--') : words.length
  return words.flatMap((word, index) => {
    const [, letters, user] = (index < end && /^-([^-u=]*)u(.+)$/.exec(word)) || []
    return letters === undefined || user === undefined
      ? [word]
      : [...letters.split('').map((letter) => `-${letter}`), '-u', user]
  })
}
