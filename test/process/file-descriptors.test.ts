import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import type { Pooler } from '../../src/pooler.js'
import { logFileDescriptors } from '../../src/process/file-descriptors.js'
import { RecordingLog } from './recording-log.js'

const databases = [
  { poolSize: 20, forceUser: undefined },
  { poolSize: 5, forceUser: undefined },
  { poolSize: 7, forceUser: 'app' },
  { poolSize: 2, forceUser: 'pgbouncer' },
]
const admin = { databases: () => databases, users: () => [{}, {}, {}] } as unknown as Pooler['admin']
const config = (max_client_conn: `${number}`) => loadConfig({ pgbouncer: { max_client_conn }, databases: {} })

/** As the shell sees it; Node.js raises the soft limit to the hard one at its start. */
const hardLimit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()

test('the limit and the need are told', async () => {
  const log = new RecordingLog()
  logFileDescriptors(log, await config('500'), admin)
  // 500 clients, 10 of our own, (20 + 5) * 3 users, 7 + 2 for forced users
  expect(log.lines[0]).toBe(
    `info kernel file descriptor limit: ${hardLimit} (hard: ${hardLimit}); max_client_conn: 500, max expected fd use: 594`,
  )
})

test('a limit below the need is a warning', async () => {
  const log = new RecordingLog()
  logFileDescriptors(log, await config('10'), admin)
  expect(log.lines).toHaveLength(1)
  logFileDescriptors(log, await config('2000000000'), admin)
  if (hardLimit !== 'unlimited') expect(log.lines.at(-1)).toMatch(/^warning the file descriptor limit is below/)
})
