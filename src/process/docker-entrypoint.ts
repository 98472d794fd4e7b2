// `tsbouncer docker-entrypoint`: makes the configuration from the environment of a container, then runs what it is to run.

import { spawn } from 'node:child_process'
import { appendFileSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { constants, userInfo } from 'node:os'
import { basename, join } from 'node:path'
import { ConfigError } from '../config/config-error.js'
import { configFromEnv, type EnvConfig, hideSecrets, loginsFromEnv } from '../config/env.js'
import { type Environment, refuseUnknown, settingVariable, variablesInForce } from '../config/env-variables.js'
import { loadConfig } from '../config/load.js'
import type { DockerEntrypointCommand } from './cli.js'
import { StartFailure } from './start-failure.js'
import { findUser } from './user.js'

export interface Container {
  readonly env: Environment
  /** What the container is to run: arguments of `docker run`, or the CMD of the image. */
  readonly words: readonly string[]
  /** Where `/etc/pgbouncer` is: '' but for tests. */
  readonly root: string
  /** Takes a line for standard output, and one for standard error. */
  readonly print: (line: string) => void
  readonly warn: (line: string) => void
}

/** `own`: the words of our command line. `foreign`: a program and its arguments. */
export type ContainerCommand = {
  readonly kind: 'own' | 'foreign'
  readonly words: readonly string[]
}

/**
 * Makes the files that are wanted, as one of the images pgbouncer/pgbouncer and edoburu/pgbouncer does, in their words.
 * @returns what to run
 * @throws ConfigError, StartFailure; nothing has been written then
 */
export async function prepareContainer(container: Container): Promise<ContainerCommand> {
  const { env, print } = container
  const folder = join(container.root, '/etc/pgbouncer')
  const file = join(folder, 'pgbouncer.ini')
  refuseUnknown(env)
  const config = configFromEnv(env, { authFile: join(folder, 'userlist.txt'), runAs: runAs() })
  const quiet = env.QUIET ? ['-q'] : []

  if (config?.contract === 'prefixed') {
    await write(container, config, folder)
    print('Starting pgbouncer.')
    const user = settingVariable(env, 'user', false)
    return { kind: 'own', words: [...quiet, ...(user === undefined ? [] : ['-u', user]), file] }
  }
  const wanted = commandOf(container.words, file)
  const isThere = existsSync(file)
  if (config === undefined && !isThere) {
    if (!wanted.words.includes(file)) return wanted
    throw new StartFailure(
      'Setup pgbouncer config error! You must set DB_HOST env\n' +
        `(or DATABASE_URL, DATABASE_URLS, DATABASES, DATABASES_HOST; or put your own configuration at ${file})`,
    )
  }
  if (isThere) {
    addLogins(container, config, folder)
    warnUnused(container, config, file)
  } else if (config !== undefined) {
    await check(config, file)
    addLogins(container, config, folder)
    await write(container, config, folder)
  }
  print(`Starting ${container.words.join(' ') || file}...`)
  return wanted
}

/** The image's own command stands for us, by any of its paths; options alone are for it, too. */
function commandOf(words: readonly string[], file: string): ContainerCommand {
  const [program, ...rest] = words
  if (program === undefined) return { kind: 'own', words: [file] }
  if (program.startsWith('-')) return { kind: 'own', words: [...words, file] }
  const isOurs = ['pgbouncer', 'tsbouncer'].includes(basename(program))
  return isOurs ? { kind: 'own', words: rest } : { kind: 'foreign', words }
}

async function write(container: Container, config: EnvConfig, folder: string): Promise<void> {
  const { env, print } = container
  const file = join(folder, 'pgbouncer.ini')
  await check(config, file)
  print(`Creating pgbouncer config in ${folder}`)
  change(file, () => {
    mkdirSync(folder, { recursive: true })
    writeFileSync(file, config.ini, { mode: 0o600 })
    own(file, env)
  })
  if (config.contract === 'prefixed' && env.QUIET) return
  print(hideSecrets(config.ini).trimEnd())
}

/** @throws ConfigError, before anything has been written */
async function check(config: EnvConfig, file: string): Promise<void> {
  await loadConfig(file, { readFile: async () => config.ini })
}

/** Users of the environment whom the auth_file has not get a line there. */
function addLogins({ env, print }: Container, config: EnvConfig | undefined, folder: string): void {
  const file = settingVariable(env, 'auth_file', true) ?? join(folder, 'userlist.txt')
  const logins = loginsFromEnv(env)
  const text = existsSync(file) ? change(file, () => readFileSync(file, 'utf8')) : undefined
  if (text === undefined && (config !== undefined || logins.length > 0)) {
    change(file, () => {
      mkdirSync(folder, { recursive: true })
      writeFileSync(file, '', { mode: 0o600 })
      own(file, env)
    })
  }
  const lines = (text ?? '').split('\n')
  for (const { user, secret } of logins) {
    if (lines.some((line) => line.startsWith(quoted(user)))) continue
    const start = lines.at(-1) === '' ? '' : '\n'
    const line = `${quoted(user)} ${quoted(secret.reveal())}`
    change(file, () => appendFileSync(file, `${start}${line}\n`))
    lines.splice(-1, 1, line, '')
    print(`Wrote authentication credentials for '${user}' to ${file}`)
  }
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '""')}"`
}

/** A file that is there stays as it is; that is told only where the environment asks for something else. */
function warnUnused({ env, warn }: Container, config: EnvConfig | undefined, file: string): void {
  const names = variablesInForce(env).filter((name) => !['AUTH_FILE', 'AUTH_TYPE'].includes(name))
  if (names.length === 0 || change(file, () => readFileSync(file, 'utf8')) === config?.ini) return
  warn(`${file} is there and stays as it is; without effect on it: ${names.join(', ')}`)
}

/** Files belong to whom the pooler is going to be, so that it can read them again on a reload. */
function own(file: string, env: Environment): void {
  if (process.getuid?.() !== 0) return
  const user = settingVariable(env, 'user', false) ?? runAs()
  if (user === undefined) return
  const { uid, gid } = findUser(user)
  chownSync(file, uid, gid)
}

function change<T>(file: string, run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof StartFailure || !(error instanceof Error) || !('syscall' in error)) throw error
    throw new StartFailure(`cannot use ${file}: ${error.message}`)
  }
}

/** The user of the image, where we are it, or may become it. */
function runAs(): string | undefined {
  const name = 'postgres'
  try {
    if (process.getuid?.() === 0) return findUser(name) && name
    return userInfo().username === name ? name : undefined
  } catch {
    return undefined // no such user here
  }
}

/**
 * What main does for `tsbouncer docker-entrypoint`.
 * @returns words for our own command line, or the exit code of what was run in its place
 */
export async function enterContainer({ root, words }: DockerEntrypointCommand): Promise<readonly string[] | number> {
  try {
    const command = await prepareContainer({
      env: process.env,
      words,
      root,
      print: (line) => process.stdout.write(`${line}\n`),
      warn: (line) => process.stderr.write(`${line}\n`),
    })
    return command.kind === 'own' ? command.words : await runForeign(command.words)
  } catch (error) {
    if (!(error instanceof ConfigError) && !(error instanceof StartFailure)) throw error
    process.stderr.write(`${error.message}\n`)
    return 1
  }
}

/** Runs another program in our place, with the signals that we get. Returns its exit code, as a shell tells it. */
function runForeign([program = '', ...words]: readonly string[]): Promise<number> {
  const child = spawn(program, words, { stdio: 'inherit' })
  const signals = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      process.stderr.write(`could not run ${program}: ${error.message}\n`)
      resolve(error.code === 'ENOENT' ? 127 : 126)
    })
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal ?? 'SIGKILL']))
  })
}
