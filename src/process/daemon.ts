// The pooler as a process: configuration, user, pid file, listening, signals, end; one step a line, in pgbouncer's order.

import { closeSync, openSync } from 'node:fs'
import { ConfigError, systemReason } from '../config/config-error.js'
import { type Config, type LoadOptions, loadConfig } from '../config/load.js'
import { systemClock } from '../observe/clock.js'
import { createLog, type Log } from '../observe/log.js'
import { versionText } from '../observe/version.js'
import type { createPooler } from '../pooler.js'
import { reportReady } from './background.js'
import type { ServeCommand } from './cli.js'
import { logFileDescriptors } from './file-descriptors.js'
import { catchTheRest, stackOf } from './last-resort.js'
import { Pidfile } from './pidfile.js'
import { Signals } from './signals.js'
import { type PassedSocket, takePassedSockets } from './socket-activation.js'
import { StartFailure } from './start-failure.js'
import { createNotify, stderrIsJournal } from './systemd.js'
import { becomeUser } from './user.js'

/**
 * Runs until it is told to stop.
 * @param command with `daemon`, we are the process in the background already
 * @returns exit code; why it is not 0 is in the log
 */
export async function runDaemon(command: ServeCommand, create: typeof createPooler): Promise<number> {
  const log = createLog({
    stderr: stderrOf(command),
    journald: stderrIsJournal(process.env),
    verbose: command.verbose,
  })
  const letGo = catchTheRest(log, process, (code) => process.exit(code))
  try {
    return await serve(command, create, log)
  } catch (error) {
    log.fatal(isForPeople(error) ? error.message : stackOf(error))
    return 1
  } finally {
    letGo()
    log.close()
  }
}

async function serve(command: ServeCommand, create: typeof createPooler, log: Log): Promise<number> {
  // In the background they are meant for the one who started us, and who is waiting until we are ready.
  const passed = takePassedSockets(process.env, command.daemon ? process.ppid : process.pid)
  if (command.reboot) throw new StartFailure(noReboot)
  const config = await load(command, log)
  const { settings } = config
  // In its format from here on; its files belong to whom we become.
  log.reopen({ ...settings, logfile: '', syslog: false })
  becomeUser(settings.user)
  checkLogFile(settings.logfile)
  log.reopen(settings)
  for (const warning of config.warnings) log.warning(warning)
  if (passed.length > 0) warnOfIgnored(config, log)
  if (command.daemon && settings.pidfile === '') throw new StartFailure('daemon needs pidfile configured')
  const pidfile = new Pidfile(settings.pidfile)
  pidfile.check(log)

  const pooler = create({ config, load: loadOptions(command), log })
  const notify = createNotify(process.env, log)
  const removePidfile = (): void => pidfile.remove()
  process.once('exit', removePidfile) // for ends that do not pass here
  try {
    const addresses = await pooler.listen(passed.map(({ fd }) => fd))
    if (addresses.length === 0) throw new StartFailure('nowhere to listen on')
    using signals = new Signals({ pooler, log, notify, clock: systemClock, source: process })
    logFileDescriptors(log, config, pooler.admin)
    for (const [index, address] of addresses.entries()) log.info(`${describe(passed[index])} ${address}`)
    pidfile.write()
    log.info(`process up: ${versionText}, ${surroundings()}`)
    void notify('READY=1')
    if (command.daemon) reportReady()
    const stopped = pooler.stopped.then(() => signals.told)
    return await Promise.race([stopped.then(() => 0), signals.exit])
  } finally {
    await Promise.allSettled([pooler.close()])
    removePidfile()
    process.off('exit', removePidfile)
  }
}

const noReboot =
  'online restart (-R) is not supported, Node.js cannot take over the clients of another process: ' +
  'with so_reuseport = 1 start the new pooler beside the old one, then end the old one with SIGTERM'

/** As pgbouncer: there is no listening at both. */
function warnOfIgnored({ raw }: Config, log: Log): void {
  for (const name of ['listen_addr', 'unix_socket_dir'] as const) {
    if (raw.get(name)) log.warning(`sockets passed from service manager, ${name} ignored`)
  }
}

function describe(passed: PassedSocket | undefined): string {
  if (passed === undefined) return 'listening on'
  const { fd, name } = passed
  return `socket passed from service manager (fd ${fd}${name === '' ? '' : `, ${name}`}):`
}

/** In the background there may be no other place where anything is said. */
function checkLogFile(file: string): void {
  if (file === '') return
  try {
    closeSync(openSync(file, 'a'))
  } catch (error) {
    throw new StartFailure(`Cannot open logfile: '${file}': ${systemReason(error)}`)
  }
}

/** What the command line says of settings, at start and at each reload. */
function loadOptions({ user, verbose }: ServeCommand): LoadOptions {
  return { defaults: { verbose: String(verbose) }, overrides: { user } }
}

async function load(command: ServeCommand, log: Log): Promise<Config> {
  try {
    return await loadConfig(command.file, loadOptions(command))
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    log.error(error.message)
    throw new StartFailure('cannot load config file')
  }
}

/** In the background, standard error is the terminal of who started us, and only until we are ready. */
function stderrOf({ quiet, daemon }: ServeCommand): 'all' | 'problems' | 'nothing' {
  if (quiet) return 'nothing'
  return daemon ? 'problems' : 'all'
}

function surroundings(): string {
  const { node, uv, openssl } = process.versions
  return `node v${node}, libuv ${uv}, tls: OpenSSL ${openssl}`
}

/** Errors that say all that is to be said: ours, and the system's. */
function isForPeople(error: unknown): error is Error {
  if (error instanceof StartFailure || error instanceof ConfigError) return true
  return error instanceof Error && 'syscall' in error
}
