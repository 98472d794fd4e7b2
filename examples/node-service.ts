// A Node service that pools without a process beside it: 50 connections of pg and 50 of postgres.js share 5 to PostgreSQL.
//
//   PGHOST=127.0.0.1 PGUSER=app PGPASSWORD=secret PGDATABASE=app node node-service.ts
//   curl http://127.0.0.1:3000/pg
//
// From Node.js 22.18 on it runs as it is; before, compile it.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import pg from 'pg'
import postgres from 'postgres'
import { createLog, createPooler } from 'tsbouncer'

const { PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PORT } = process.env

const pooler = createPooler({
  log: createLog({ log_format: 'json' }),
  config: {
    pgbouncer: { pool_mode: 'transaction', auth_type: 'any', unix_socket_dir: '' },
    databases: {
      app: {
        host: PGHOST ?? '127.0.0.1',
        port: Number(PGPORT ?? 5432),
        dbname: PGDATABASE ?? 'app',
        user: PGUSER ?? 'app',
        password: PGPASSWORD ?? '',
        pool_size: 5,
      },
    },
  },
})
await pooler.start()

// Nobody logs in from outside: who the service is to the pooler does not matter.
const login = { user: 'service', database: 'app', max: 50 }
const pool = new pg.Pool({ ...login, stream: () => pooler.connect() })
const options = { ...login, socket: () => pooler.connect() } // postgres.js has this option, its types do not
const sql = postgres(options)

const answers: Readonly<Record<string, () => Promise<unknown>>> = {
  '/pg': async () => (await pool.query('select count(*)::int as tables from pg_class')).rows,
  '/postgres': async () => await sql`select count(*)::int as tables from pg_class`,
  '/pools': async () => await pooler.show('pools'),
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const rows = answers[request.url ?? '']
  if (rows === undefined) return void response.writeHead(404).end()
  try {
    const text = JSON.stringify(await rows())
    response.writeHead(200, { 'content-type': 'application/json' }).end(`${text}\n`)
  } catch (error) {
    response.writeHead(503).end(`${error instanceof Error ? error.message : String(error)}\n`)
  }
}

const server = createServer((request, response) => void answer(request, response))
server.listen(Number(PORT ?? 3000), '127.0.0.1', () => console.log(`http://127.0.0.1:${portOf()}/pg`))

function portOf(): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** In the order of who needs whom: requests, drivers, pooler. */
async function stop(): Promise<void> {
  await new Promise((done) => server.close(done))
  await pool.end()
  await sql.end()
  await pooler.close()
}
process.once('SIGTERM', () => void stop())
process.once('SIGINT', () => void stop())
