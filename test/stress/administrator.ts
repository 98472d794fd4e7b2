// What an administrator does meanwhile: clients notice nothing but the death of their own server.

import { setTimeout as sleep } from 'node:timers/promises'
import { query } from '../harness/postgres.js'
import type { Random } from '../harness/random.js'
import { query as command, type RawClient } from '../harness/raw-client.js'
import type { Scene } from './scene.js'

/**
 * Values that clients do not notice. What is not named here is set to the value that it has.
 */
const values: Readonly<Record<string, readonly string[]>> = {
  auth_failure_delay: ['0', '2'],
  autodb_idle_timeout: ['1', '3600'],
  cancel_wait_timeout: ['0', '10'],
  client_idle_timeout: ['0', '120'],
  client_login_timeout: ['60', '120'],
  default_pool_size: ['1', '3', '8'],
  dns_max_ttl: ['0', '15'],
  idle_transaction_timeout: ['0', '120'],
  log_connections: ['0', '1'],
  log_disconnections: ['0', '1'],
  log_pooler_errors: ['0', '1'],
  log_stats: ['0', '1'],
  login_notify_message: ['', 'welcome'],
  max_client_conn: ['5000', '10000'],
  max_db_connections: ['0', '3', '10'],
  max_packet_size: ['2147483647', '100000000'],
  max_prepared_statements: ['1', '3', '30', '200'],
  max_user_connections: ['0', '4'],
  min_pool_size: ['0', '2'],
  pool_idle_timeout: ['0', '1'],
  query_timeout: ['0', '120'],
  reserve_pool_size: ['0', '2'],
  reserve_pool_timeout: ['0.01', '5'],
  scram_iterations: ['4096', '5000'],
  server_check_delay: ['0', '0.1', '30'],
  server_check_query: ['select 1', '<empty>', ''],
  server_connect_timeout: ['15', '60'],
  server_idle_timeout: ['0', '1', '600'],
  server_lifetime: ['0', '1', '3600'],
  server_login_retry: ['0', '0.1'],
  server_reset_query: ['DISCARD ALL', 'select 1; discard all'],
  server_reset_query_always: ['0', '1'],
  server_round_robin: ['0', '1'],
  server_tls_sslmode: ['disable', 'prefer'],
  stats_period: ['1', '60'],
  suspend_timeout: ['10', '20'],
  tcp_keepalive: ['0', '1'],
  transaction_timeout: ['0', '120'],
  verbose: ['0', '1', '2'],
}

/** Values that cost some clients their server, which they are told. */
const roughValues: Readonly<Record<string, readonly string[]>> = {
  pool_mode: ['transaction', 'transaction', 'session'],
  server_fast_close: ['0', '1'], // in session mode, with a RECONNECT
  session_state: ['allow', 'warn', 'track'], // those who have what only `track` looks after
}

export async function administer(scene: Scene, random: Random): Promise<void> {
  const { pooler, stage, round, figures, administered } = scene
  const note = (what: string): void => {
    figures.count(what)
    administered.push(what)
  }
  await using console = await pooler.raw({ database: 'pgbouncer' })
  const changeable = (await pooler.show('config'))
    .filter((row) => row.changeable === 'yes')
    .map((row) => String(row.key))
  while (!scene.isOver) {
    await sleep(random.between(50, 300))
    switch (random.below(6)) {
      case 0:
        pooler.pooler.admin.reconnect(undefined)
        note('RECONNECT')
        break
      case 1: {
        const abort = AbortSignal.timeout(random.between(1, 50))
        await pooler.pooler.admin.pause(undefined, abort).catch(() => {})
        pooler.pooler.admin.resume(undefined)
        note('PAUSE')
        break
      }
      case 2:
        await pooler.pooler.reload()
        note('RELOAD')
        break
      case 3:
        if (round.isRough) {
          const victims = 'select pid from pg_stat_activity where datname = $1 order by random() limit 1'
          await query(`select pg_terminate_backend(pid) from (${victims}) victims`, { values: [stage.database] })
          note('kill')
        }
        break
      default:
        await set(console, scene, random.chance(0.05) ? 'pool_mode' : random.pick(changeable), random)
    }
  }
}

async function set(
  console: RawClient,
  { pooler, figures, round, administered }: Scene,
  name: string,
  random: Random,
): Promise<void> {
  const row = (await pooler.show('config')).find(({ key }) => key === name)
  const rough = round.isRough && (name !== 'pool_mode' || round.mode === 'transaction') ? roughValues[name] : undefined
  const value = random.pick(rough ?? values[name] ?? [typeof row?.value === 'string' ? row.value : ''])
  if (round.known.has(`SET ${name}`)) return
  const text = `SET ${name} = '${value.replaceAll("'", "''")}'`
  const answer = await console.ask(command(text))
  if (answer.at(-2)?.startsWith('C SET') !== true) throw new Error(`${text}: ${answer.join()}`)
  administered.push(text)
  figures.count('SET by the administrator')
}
