// The service of the examples, compiled and run as its reader would, against the test servers.

import { execFile, spawn } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { eventually } from '../harness/pooler.js'
import { postgres } from '../harness/postgres.js'
import { Running } from '../process/command.js'

const root = new URL('../../', import.meta.url).pathname

test('it answers by both drivers over one pool, and ends when it is told to', { timeout: 120_000 }, async () => {
  await promisify(execFile)(process.execPath, ['scripts/compile.js', '-p', 'tsconfig.examples.json'], { cwd: root })
  const { primary, roles } = postgres()
  const { user, password } = roles.scram_user
  const env = { PGHOST: primary.host, PGPORT: `${primary.port}`, PGUSER: user, PGPASSWORD: password, PORT: '0' }
  const program = join(root, 'build/examples/node-service.js')
  const service = spawn(process.execPath, [program], { env: { ...process.env, ...env, PGDATABASE: 'postgres' } })
  await using running = new Running(service)
  await eventually(
    () => running.stdout.includes('/pg'),
    () => running.stderr,
  )
  const base = /http:\/\/127\.0\.0\.1:\d+/.exec(running.stdout)![0]
  const ask = async (path: string): Promise<unknown> => (await fetch(`${base}${path}`)).json()
  const asked = Array.from({ length: 40 }, (_, n) => ask(n % 2 === 0 ? '/pg' : '/postgres'))
  for (const rows of await Promise.all(asked)) expect(rows).toEqual([{ tables: expect.any(Number) }])
  const pools = (await ask('/pools')) as { database: string; sv_idle: number }[]
  expect(pools.find(({ database }) => database === 'app')?.sv_idle).toBeLessThanOrEqual(5)
  expect((await fetch(`${base}/elsewhere`)).status).toBe(404)
  service.kill('SIGTERM')
  expect(await running.ended, running.stderr).toBe(0)
})
