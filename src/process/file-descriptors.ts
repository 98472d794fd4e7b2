// How many files and sockets the kernel allows us, and how many we may come to need.

import { readFileSync } from 'node:fs'
import type { Config } from '../config/load.js'
import type { Log } from '../observe/log.js'
import type { Pooler } from '../pooler.js'

/** For the log, timers, DNS and what else the process has open. */
const ownNeeds = 10

export function logFileDescriptors(log: Log, { settings }: Config, admin: Pooler['admin']): void {
  const limits = readLimits()
  if (limits === undefined) return
  const { max_client_conn } = settings
  const expected = max_client_conn + ownNeeds + serversAtMost(admin)
  const { soft, hard } = limits
  log.info(
    `kernel file descriptor limit: ${soft} (hard: ${hard}); max_client_conn: ${max_client_conn}, max expected fd use: ${expected}`,
  )
  if (Number(soft) < expected)
    log.warning('the file descriptor limit is below the max expected use, raise it with ulimit -n')
}

/** As pgbouncer reckons: each database with a forced user has one pool, any other one for each user. */
function serversAtMost(admin: Pooler['admin']): number {
  const users = admin.users().length
  let servers = 0
  for (const { poolSize, forceUser } of admin.databases())
    servers += forceUser === undefined ? poolSize * users : poolSize
  return servers
}

/** Linux only; a number or `unlimited`. */
function readLimits(): { readonly soft: string; readonly hard: string } | undefined {
  try {
    const [, soft, hard] = /^Max open files +(\w+) +(\w+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined || hard === undefined ? undefined : { soft, hard }
  } catch {
    return undefined
  }
}
