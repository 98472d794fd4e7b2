// Who a client is and whether it may come in: finds what is known of its user, and has its password checked.

import type { AuthFiles } from '../auth/auth-files.js'
import { askPassword, checkPassword, type LearntSecret } from '../auth/client-login.js'
import { type HbaMethod, matchHba } from '../auth/hba.js'
import { identAllows } from '../auth/ident.js'
import { checkLdap, LdapFailed } from '../auth/ldap.js'
import type { LdapOptions } from '../auth/ldap-options.js'
import { mostIterations } from '../auth/scram-keys.js'
import type { KnownUser, StoredSecret } from '../auth/secrets.js'
import type { Credentials } from '../auth/server-login.js'
import { Secret } from '../config/secret.js'
import { ownUserName } from '../io/socket-access.js'
import type { LogPeer } from '../observe/log.js'
import * as logTexts from '../observe/log-texts.js'
import type { Database } from '../pool/database.js'
import type { Pool } from '../pool/pool.js'
import { isUtf8Text, textOf } from '../protocol/byte-text.js'
import type { Conversation } from '../protocol/conversation.js'
import { PgError } from '../protocol/errors.js'
import type { Attempt } from '../server/attempt.js'
import type { Context } from '../server/context.js'
import type { Arrival } from './arrivals.js'
import type { FailedLogins } from './failed-logins.js'

export interface LoginRequest {
  readonly user: string
  readonly database: Database<Pool> | undefined
  readonly databaseName: string
  readonly replication: 'none' | 'logical' | 'physical'
  readonly origin: Arrival
  /** For the log. */
  readonly who: LogPeer
  /** Given up when the client has left: nothing is asked for it any more. */
  readonly attempt: Attempt
}

export interface LoginSources {
  readonly files: AuthFiles
  /** Asks the server, where auth_query applies; undefined: no such user. For the console: without a database. */
  readonly lookUp: (
    database: Database<Pool> | undefined,
    user: string,
    attempt: Attempt,
  ) => Promise<KnownUser | undefined>
  readonly failures: FailedLogins
}

const unknown: StoredSecret = { kind: 'none' }

type Method = HbaMethod | { readonly name: 'any' | 'trust' | 'plain' | 'md5' | 'scram-sha-256' | 'cert' | 'ldap' }

/**
 * Lets the client prove who it is.
 * @returns what to log in to servers with, in the client's name
 * @throws PgError
 */
export async function logInClient(
  client: Conversation,
  request: LoginRequest,
  sources: LoginSources,
  context: Context,
): Promise<Credentials> {
  const { settings } = context.config
  const method: Method = settings.auth_type === 'hba' ? hbaMethod(request, sources) : { name: settings.auth_type }
  if (context.log.verbose > 0) context.log.debug(`login method: ${method.name}`, request.who)
  if (method.name === 'any') return anyUser(request, sources, context)
  if (method.name === 'reject') throw new PgError('login_rejected')
  const { attempt } = request
  const { address } = request.origin
  await sources.failures.admission(address, request.user, attempt)
  try {
    return await proveUser(client, method, request, sources, context)
  } catch (error) {
    if (error instanceof PgError && guessed.has(error.condition))
      await sources.failures.delay(address, request.user, attempt)
    throw error
  }
}

/** What a wrong password ends with. */
const guessed: ReadonlySet<PgError['condition']> = new Set(['auth_failed', 'sasl_failed', 'ldap_failed'] as const)

type Proof = Exclude<Method, { name: 'any' | 'reject' }>

async function proveUser(
  client: Conversation,
  method: Proof,
  request: LoginRequest,
  sources: LoginSources,
  context: Context,
): Promise<Credentials> {
  // The directory knows its users: they need not be in auth_file, and auth_query is not asked.
  if (method.name === 'ldap') {
    const options = 'options' in method ? method.options : sources.files.ldap
    return proveByLdap(client, options, request, sources, context)
  }
  const known = await findUser(request, sources)
  if (known === undefined) context.log.info(logTexts.noSuchUser(request.user), request.who)
  if (known?.stored.kind === 'scram' && known.stored.iterations > mostIterations) {
    const { iterations } = known.stored
    context.log.warning(
      `SCRAM secret of ${known.name} has ${iterations} iterations, at most ${mostIterations} are done`,
    )
  }
  const learnt = await prove(client, method, request, known, context)
  return { user: known?.name ?? request.user, stored: known?.stored ?? unknown, ...learnt }
}

/** auth_type any: whoever comes is the forced user of the database. */
function anyUser(request: LoginRequest, sources: LoginSources, { log }: Context): Credentials {
  const forced = request.database?.config.user
  if (request.databaseName !== 'pgbouncer' && request.database !== undefined && forced === undefined) {
    log.error(logTexts.anyWithoutUser, request.who)
    throw new PgError('config_error')
  }
  const user = forced ?? request.user
  return { user, stored: sources.files.users.get(user) ?? unknown }
}

async function findUser(request: LoginRequest, sources: LoginSources): Promise<KnownUser | undefined> {
  const { user, database, databaseName, attempt } = request
  const stored = sources.files.users.get(user)
  const ofFile = stored && { name: user, stored }
  if (stored !== undefined && stored.kind !== 'none') return ofFile
  const isConsole = databaseName === 'pgbouncer'
  if (database === undefined && !isConsole) return ofFile
  try {
    return (await sources.lookUp(database, user, attempt)) ?? ofFile
  } catch (error) {
    // The console is needed most of all when no server can be asked.
    if (!isConsole || ofFile === undefined || !(error instanceof PgError)) throw error
    return ofFile
  }
}

function hbaMethod(request: LoginRequest, sources: LoginSources): HbaMethod {
  const { origin, user, databaseName, replication } = request
  const rule = matchHba(sources.files.hba, {
    peer: origin.kind === 'unix' ? { kind: 'unix' } : { kind: 'tcp', address: origin.address, tls: origin.tls !== '' },
    database: databaseName,
    user,
    replication: replication === 'physical',
  })
  if (rule === undefined) throw new PgError('no_auth_method')
  return rule.method
}

async function prove(
  client: Conversation,
  method: Exclude<Proof, { name: 'ldap' }>,
  request: LoginRequest,
  known: KnownUser | undefined,
  context: Context,
): Promise<LearntSecret> {
  switch (method.name) {
    case 'trust':
      if (known === undefined) throw new PgError('trust_failed')
      return {}
    case 'cert': {
      const name = request.origin.certificateName
      const map = 'map' in method ? method.map : undefined
      if (name === undefined || known === undefined || !identAllows(map, name, request.user)) {
        throw new PgError('cert_failed')
      }
      return {}
    }
    case 'peer': {
      // Node.js does not tell who is at the other end of a Unix socket, but it may be that nobody else can be.
      const name = request.origin.isOwnUser ? ownUserName() : undefined
      const map = 'map' in method ? method.map : undefined
      if (name === undefined || known === undefined || !identAllows(map, name, request.user)) {
        throw new PgError('peer_failed')
      }
      return {}
    }
    case 'password':
    case 'plain':
    case 'md5':
    case 'scram-sha-256':
      return checkPassword(client, {
        method: method.name === 'password' ? 'plain' : method.name,
        user: request.user,
        stored: known?.stored ?? unknown,
        keyring: context.keyring,
        scramIterations: context.config.settings.scram_iterations,
        channelBinding: request.origin.channelBinding,
      })
    default:
      throw new PgError('no_auth_method')
  }
}

/** How long a directory may take to answer, ms. */
const directoryTimeout = 10_000

async function proveByLdap(
  client: Conversation,
  options: LdapOptions | undefined,
  { user, who, attempt }: LoginRequest,
  { files }: LoginSources,
  { clock, log }: Context,
): Promise<Credentials> {
  if (options === undefined) throw new PgError('config_error')
  const bytes = await askPassword(client)
  const password = new Secret(textOf(bytes))
  const abort = new AbortController()
  const timer = clock.after(directoryTimeout, () => abort.abort())
  const keep = attempt.onGivenUp(() => abort.abort())
  try {
    const isText = isUtf8Text(password.reveal() + user) // directories speak nothing else
    if (!isText || !(await checkLdap(options, user, password, files.ldapTrusts, abort.signal)))
      throw new PgError('ldap_failed')
  } catch (error) {
    if (!(error instanceof LdapFailed)) throw error
    if (!attempt.isOver) log.warning(error.message, who)
    throw new PgError('ldap_failed')
  } finally {
    timer.cancel()
    keep()
  }
  return { user, stored: files.users.get(user) ?? unknown, password }
}
