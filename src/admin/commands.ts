// The commands of the console as a table: verb, argument, who may, and what is done.

import { ConfigError } from '../config/config-error.js'
import { AdminError, type Administration, type ShutdownMode } from '../control/status.js'
import type { Table } from './table.js'

/** admin_users may do all; stats_users may only look. */
export type Role = 'admin' | 'stats'

/** What to do for one command, its rights and arguments checked. */
export type Command =
  /** No command at all: an empty query. */
  { readonly does: 'nothing' } | { readonly does: 'show'; readonly table: Table } | Answer | Action

/** A fixed answer, and what it changes in the session of this client. */
export interface Answer {
  readonly does: 'answer'
  readonly tag: string
  readonly notice?: { readonly text: string; readonly detail?: string }
  /** From here on inside or outside of a transaction block, as far as the console has any. */
  readonly inTransaction?: boolean
  /** Prepared statements to forget: one by its name, or all. */
  readonly deallocate?: { readonly statement?: string }
}

export interface Action {
  readonly does: 'act'
  readonly tag: string
  /** The command as the log tells of it: `PAUSE 'db'`. */
  readonly title: string
  /**
   * @param tell sends the client a notice
   * @throws AdminError where it is refused
   */
  act(administration: Administration, signal: AbortSignal, tell: Tell): void | Promise<void>
  /** It may take long, until something is true: a CancelRequest ends it. */
  readonly waits?: boolean
  /** Takes back what a command has begun whose client cancels it while it waits. */
  undo?(administration: Administration): void
  /** It is undone when its client leaves, too, whenever that is. */
  readonly endsWithClient?: boolean
  /** What the client is told when it fails for a reason that only the log has. */
  readonly failure?: Failure
  /** No answer: the connection closes with the pooler. */
  readonly last?: boolean
  /** Answered before it is carried out: with nobody to wait for, nothing could be told afterwards. */
  readonly afterAnswer?: boolean
}

type Tell = (notice: string, detail?: string) => void

interface Failure {
  readonly text: string
  readonly sqlstate: string
  /** Who carries the command out logs what is wrong. */
  readonly isLogged?: boolean
}

/** pgbouncer's text for a command that failed, and what is wrong with the configuration if it is that. */
export class CommandFailed extends AdminError {
  readonly detail: string | undefined

  constructor({ text, sqlstate }: Failure, cause: unknown) {
    super(text, sqlstate)
    this.detail = cause instanceof ConfigError ? cause.message : undefined
  }
}

/** `database?`: one, or none for all. `id`: from SHOW CLIENTS. `host`: from SHOW HOSTS. */
export type ArgumentRule = 'none' | 'database' | 'database?' | 'id' | 'shutdown mode' | 'host'

export interface Verb {
  readonly name: string
  readonly argument: ArgumentRule
  /** A number of seconds may follow the argument. */
  readonly takesSeconds?: boolean
  /** The least that may. */
  readonly who: Role
  /** Answer to the console's own name as the database, which is none; `%s` is the name. */
  readonly consoleText?: string
  readonly failure?: Failure
  readonly waits?: boolean
  readonly endsWithClient?: boolean
  act(
    administration: Administration,
    argument: string | undefined,
    signal: AbortSignal,
    tell: Tell,
    seconds: number,
  ): void | Promise<void>
  undo?(administration: Administration, argument: string | undefined): void
}

const shutdownModes = new Map<string | undefined, ShutdownMode>([
  [undefined, 'now'],
  ['WAIT_FOR_SERVERS', 'wait_for_servers'],
  ['WAIT_FOR_CLIENTS', 'wait_for_clients'],
])

/** All but SHOW, SELECT and SET, whose arguments are of other kinds. */
export const verbs: readonly Verb[] = [
  {
    name: 'BAN HOST',
    argument: 'host',
    takesSeconds: true,
    who: 'admin',
    act: (administration, host, _signal, _tell, seconds) => administration.banHost(host ?? '', seconds),
  },
  {
    name: 'DISABLE',
    argument: 'database',
    who: 'admin',
    consoleText: 'cannot disable admin db: %s',
    act: (administration, database) => administration.disable(database ?? ''),
  },
  {
    name: 'ENABLE',
    argument: 'database',
    who: 'admin',
    consoleText: 'cannot enable admin db: %s',
    act: (administration, database) => administration.enable(database ?? ''),
  },
  {
    name: 'KILL',
    argument: 'database?',
    who: 'admin',
    consoleText: 'cannot kill admin db: %s',
    act: (administration, database) => administration.kill(database),
  },
  {
    name: 'KILL_CLIENT',
    argument: 'id',
    who: 'admin',
    act: (administration, id) => administration.killClient(Number(id)),
  },
  {
    name: 'PAUSE',
    argument: 'database?',
    who: 'admin',
    consoleText: 'cannot pause admin db: %s',
    waits: true,
    act: (administration, database, signal) => administration.pause(database, signal),
    undo: (administration, database) => administration.resume(database),
  },
  {
    name: 'RECONNECT',
    argument: 'database?',
    who: 'admin',
    consoleText: 'cannot reconnect admin db: %s',
    act: (administration, database) => administration.reconnect(database),
  },
  {
    name: 'RELOAD',
    argument: 'none',
    who: 'admin',
    failure: { text: 'RELOAD failed, see logs for additional details', sqlstate: 'F0000', isLogged: true },
    act: async (administration, _argument, _signal, tell) => {
      for (const text of await administration.reload()) tell(text)
    },
  },
  {
    name: 'RESUME',
    argument: 'database?',
    who: 'admin',
    consoleText: 'database %s is not paused',
    act: (administration, database) => administration.resume(database),
  },
  {
    name: 'SHUTDOWN',
    argument: 'shutdown mode',
    who: 'admin',
    act: (administration, mode) => administration.shutdown(shutdownModes.get(mode?.toUpperCase()) ?? 'now'),
  },
  {
    name: 'SUSPEND',
    argument: 'none',
    who: 'admin',
    waits: true,
    endsWithClient: true, // as in pgbouncer: nobody could resume a pooler that takes no new connections
    act: (administration, _, signal) => administration.suspend(signal),
    undo: (administration) => administration.resume(undefined),
  },
  {
    name: 'UNBAN HOST',
    argument: 'host',
    who: 'admin',
    act: (administration, host, _signal, tell) => {
      const notice = administration.unbanHost(host ?? '')
      if (notice !== undefined) tell(notice.text, notice.detail)
    },
  },
  {
    name: 'WAIT PRIMARY',
    argument: 'database',
    takesSeconds: true,
    who: 'admin',
    consoleText: 'admin db has no primary: %s',
    waits: true,
    act: (administration, database, signal, _tell, seconds) =>
      administration.waitPrimary(database ?? '', seconds, signal),
  },
  {
    name: 'WAIT_CLOSE',
    argument: 'database?',
    who: 'admin',
    consoleText: 'cannot wait in admin db: %s',
    waits: true,
    act: (administration, database, signal) => administration.waitClose(database, signal),
  },
]

/**
 * The action that a verb with its argument stands for.
 * @returns undefined where the argument is not one that the grammar has
 * @throws AdminError where the role may not, or the argument cannot be
 */
export function actionFor(verb: Verb, argument: string | undefined, role: Role, duration?: string): Action | undefined {
  // pgbouncer's order: what is not a command at all, then rights, then the argument.
  if (verb.argument === 'none' && argument !== undefined) return undefined
  if (verb.argument === 'shutdown mode' && !shutdownModes.has(argument?.toUpperCase())) return undefined
  requireRole(verb.who, role)
  if (verb.argument === 'database' && !argument) throw new AdminError('a database is required')
  if (verb.argument === 'id' && !/^\d{1,15}$/.test(argument ?? '')) {
    throw new AdminError('invalid client pointer supplied')
  }
  if (verb.argument === 'host' && !argument) throw new AdminError('a host is required')
  if (duration !== undefined && !(verb.takesSeconds && /^\d{1,9}(\.\d{1,3})?$/.test(duration))) {
    throw new AdminError(verb.takesSeconds ? 'expected a number of seconds' : 'bad arguments')
  }
  if (verb.consoleText !== undefined && argument === 'pgbouncer') {
    throw new AdminError(verb.consoleText.replace('%s', argument))
  }
  const { name, failure, waits = false, endsWithClient = false } = verb
  return {
    does: 'act',
    tag: name,
    title: titleOf(verb, argument),
    waits,
    endsWithClient,
    last: name === 'SHUTDOWN' && argument === undefined,
    afterAnswer: name === 'SHUTDOWN' && argument !== undefined,
    act: (administration, signal, tell) => verb.act(administration, argument, signal, tell, Number(duration ?? 0)),
    ...(verb.undo && { undo: (administration: Administration) => verb.undo?.(administration, argument) }),
    ...(failure && { failure }),
  }
}

function titleOf({ name, argument: rule }: Verb, argument: string | undefined): string {
  if (argument === undefined) return name
  return rule === 'shutdown mode' ? `${name} ${argument.toUpperCase()}` : `${name} '${argument}'`
}

/** `SET key = value` for a setting of the pooler. */
export function setAction(key: string, value: string, role: Role): Action {
  requireRole('admin', role)
  return {
    does: 'act',
    tag: `SET ${key}=${value}`,
    title: `SET '${key}'`,
    failure: { text: 'SET failed', sqlstate: '08P01' },
    act: async (administration, _signal, tell) => {
      const notice = await administration.set(key, value)
      if (notice !== undefined) tell(notice.text, notice.detail)
    },
  }
}

export function requireRole(least: Role, role: Role): void {
  if (least === 'admin' && role !== 'admin') throw new AdminError('admin access needed')
}
