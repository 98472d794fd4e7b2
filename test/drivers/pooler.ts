// The pooler as its users start it, in transaction mode, with a pool of 2 servers for each database.

import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findFreePort, loopback } from '../../src/demo/port.js'
import type { Address, PostgresFacts } from '../harness/cluster.js'
import { asUser, makeFolder, run } from '../process/command.js'

/** Servers for each database: few enough that 20 clients meet on them. */
const poolSize = 2

export interface RunningPooler extends Address, AsyncDisposable {
  /** What it wrote, for the report of a failure. */
  readonly log: () => string
}

/** In front of the primary, with all its databases and roles. */
export async function startPooler({ primary, roles }: PostgresFacts): Promise<RunningPooler> {
  const folder = makeFolder()
  const port = await findFreePort(primary.port)
  const userlist = join(folder.path, 'userlist.txt')
  const ini = join(folder.path, 'pooler.ini')
  writeFileSync(
    userlist,
    Object.values(roles)
      .map(({ user, secret }) => `"${user}" "${secret}"\n`)
      .join(''),
  )
  writeFileSync(
    ini,
    `[databases]
* = host=${primary.host} port=${primary.port}
[pgbouncer]
listen_addr = ${loopback}
listen_port = ${port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = ${userlist}
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`,
  )
  for (const file of [userlist, ini]) chmodSync(file, 0o644) // it runs as another user where we are root
  const running = run([...asUser, ini])
  try {
    await running.says('process up: ')
  } catch (error) {
    await running[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
    throw error
  }
  return {
    host: loopback,
    port,
    log: () => running.stderr,
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}
