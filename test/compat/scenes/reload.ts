// What a changed file does to a running pooler, by RELOAD and SIGHUP, and what SET does.

import { query } from '../../harness/raw-client.js'
import type { Answers, Scene } from '../scene.js'

const apps = (...extra: string[]) => ({ app: `dbname=postgres user=trust_user ${extra.join(' ')}`.trim() })

export const reloadScenes: readonly Scene[] = [
  {
    name: 'RELOAD: a database less, a database more',
    ini: { databases: { ...apps(), old: 'dbname=postgres user=trust_user' } },
    async play(pooler) {
      const answers: Answers = {}
      await using admin = await pooler.console()
      await using client = await pooler.connect({ database: 'old' })
      await client.ask(query('select 1'))
      await using stays = await pooler.connect()
      await pooler.newLog()
      pooler.write({ databases: { ...apps(), fresh: 'dbname=postgres user=trust_user' } })
      answers.answer = await admin.ask(query('RELOAD'))
      answers.told = await client.toTheEnd()
      answers.log = await pooler.newLog()
      answers['login to the old'] = await pooler.login({ database: 'old' })
      answers['login to the new'] = await pooler.login({ database: 'fresh' })
      answers.stays = await stays.ask(query('select 1'))
      answers.databases = (await pooler.rows('SHOW DATABASES')).map((row) => row.name!)
      return answers
    },
  },
  {
    name: 'RELOAD: other servers',
    ini: { databases: apps() },
    async play(pooler) {
      const answers: Answers = {}
      await using admin = await pooler.console()
      await using busy = await pooler.connect()
      await using idle = await pooler.connect()
      await busy.ask(query('begin'))
      await idle.ask(query('select 1'))
      pooler.write({ databases: { app: 'dbname=template1 user=trust_user' } })
      answers.answer = await admin.ask(query('RELOAD'))
      answers['in the transaction'] = await busy.ask(query('select current_database()'))
      await busy.ask(query('commit'))
      answers['after it'] = await busy.ask(query('select current_database()'))
      answers.idle = await idle.ask(query('select current_database()'))
      return answers
    },
  },
  {
    name: 'RELOAD: secrets',
    ini: { pgbouncer: { auth_type: 'md5' } },
    async play(pooler) {
      const login = (password: string) => pooler.login({ user: 'plain', password })
      const answers: Answers = { before: await login('secret') }
      pooler.write({ secrets: { plain: 'another', trust_user: '' } })
      await pooler.reload()
      answers['old secret'] = await login('secret')
      answers['new secret'] = await login('another')
      pooler.write({ secrets: { trust_user: '' } })
      await pooler.reload()
      answers['no secret'] = await login('another')
      return answers
    },
  },
  {
    name: 'RELOAD: sizes and limits',
    async play(pooler) {
      pooler.write({
        pgbouncer: { default_pool_size: 3, max_client_conn: 50, query_wait_timeout: 7 },
        databases: apps('pool_size=9 reserve_pool=2 max_db_connections=8'),
      })
      await pooler.reload()
      const config = await pooler.rows('SHOW CONFIG')
      const value = (key: string) => config.find((row) => row.key === key)?.value ?? ''
      return {
        config: ['default_pool_size', 'max_client_conn', 'query_wait_timeout'].map((key) => `${key}=${value(key)}`),
        database: (await pooler.rows('SHOW DATABASES')).map(
          (row) => `${row.name} ${row.pool_size} ${row.max_connections}`,
        ),
      }
    },
  },
  {
    name: 'RELOAD: a smaller pool',
    ini: { pgbouncer: { default_pool_size: 2 } },
    async play(pooler) {
      await using one = await pooler.connect()
      await using two = await pooler.connect()
      await Promise.all([one.ask(query('begin')), two.ask(query('begin'))])
      await Promise.all([one.ask(query('commit')), two.ask(query('commit'))])
      await pooler.newLog()
      pooler.write({ pgbouncer: { default_pool_size: 1 } })
      await pooler.reload()
      await pooler.until('SHOW POOLS', (row) => row.database === 'app' && row.sv_idle === '1')
      return { log: (await pooler.newLog()).filter((line) => line.includes(' S-PTR')) }
    },
  },
  {
    name: 'RELOAD: a mistake',
    async play(pooler) {
      await using admin = await pooler.console()
      await pooler.newLog()
      pooler.write({ pgbouncer: { default_pool_size: 'many' } })
      const answers: Answers = { answer: await admin.ask(query('RELOAD')) }
      answers.log = await pooler.newLog()
      pooler.write({ pgbouncer: {} })
      answers.mended = await admin.ask(query('RELOAD'))
      return answers
    },
  },
  {
    name: 'SIGHUP',
    async play(pooler) {
      await pooler.newLog()
      pooler.write({ pgbouncer: { default_pool_size: 4 } })
      pooler.running.kill('SIGHUP')
      await pooler.until('SHOW CONFIG', (row) => row.key === 'default_pool_size' && row.value === '4')
      return { log: (await pooler.newLog()).filter((line) => !line.includes('pgbouncer/admin')) }
    },
  },
  {
    name: 'SET',
    ini: { pgbouncer: { max_client_conn: 3 } },
    async play(pooler) {
      await using admin = await pooler.console()
      await using _client = await pooler.connect()
      const answers: Answers = {}
      const value = async (key: string) =>
        (await pooler.rows('SHOW CONFIG')).find((row) => row.key === key)?.value ?? ''
      const settings = {
        max_client_conn: '1',
        query_timeout: '2.5',
        pool_mode: 'session',
        server_reset_query: 'DISCARD SEQUENCES',
        ignore_startup_parameters: 'search_path',
        log_connections: '0',
        admin_users: 'admin,plain',
        verbose: '0',
      }
      for (const [key, text] of Object.entries(settings)) {
        answers[key] = await admin.ask(query(`SET ${key} = '${text}'`))
        answers[`${key}, shown`] = await value(key)
      }
      answers['too many clients'] = await pooler.login({})
      await admin.ask(query('SET max_client_conn = 10'))
      answers['ignored parameter'] = await pooler.login({ parameters: { search_path: 'x' } })
      answers['another administrator'] = await pooler.login({ user: 'plain', database: 'pgbouncer' })
      answers.mode = (await pooler.rows('SHOW POOLS')).map((row) => `${row.database} ${row.pool_mode}`)
      return answers
    },
  },
]
