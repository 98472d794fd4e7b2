import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { quoted } from '../../src/demo/embedded.js'
import { findFreePort, requireFreePort } from '../../src/demo/port.js'
import { runProgram } from '../../src/demo/program.js'
import { startTestCluster, type TestCluster } from '../harness/cluster.js'

test('a value in postgresql.conf is quoted', () => {
  expect(quoted("it's a \\ path")).toBe("'it''s a \\\\ path'")
})

describe('a server', () => {
  let cluster: TestCluster

  beforeAll(async () => {
    cluster = await startTestCluster()
  })

  afterAll(() => cluster[Symbol.asyncDispose]())

  test('is stopped, crashed and started again on its port, and the standby finds it again', async () => {
    const { primary, standby } = cluster
    await primary.stop('immediate')
    expect(primary.isRunning).toBe(false)
    expect(await primary.ended()).toContain('received immediate shutdown request')
    await primary.start()
    expect(primary.isRunning).toBe(true)
    await standby.stop()
    expect(await standby.ended()).toContain('database system is shut down')
    await standby.start()
    await standby.untilStreaming()
  })

  test('that cannot start is quoted', async () => {
    const { primary, standby } = cluster
    await standby.stop()
    await primary.stop()
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(primary.plan.port, '127.0.0.1', resolve))
    try {
      await expect(primary.start()).rejects.toThrow(
        /^the primary did not start: it ended with exit code 1\n.*could not bind IPv4 address "127\.0\.0\.1"/s,
      )
    } finally {
      other.close()
    }
  })
})

test('nothing of a cluster is left once it is disposed of', async () => {
  const cluster = await startTestCluster()
  const pids = [cluster.primary.pid, cluster.standby.pid]
  const log = await readFile(cluster.facts.logs.primary, 'utf8')
  expect(log).toContain('ready to accept connections')
  await cluster[Symbol.asyncDispose]()
  for (const pid of pids) expect(() => process.kill(pid ?? 0, 0)).toThrow('ESRCH')
  await expect(readFile(cluster.facts.logs.primary)).rejects.toThrow('ENOENT')
})

test('a port in use is refused, a free one is not', async () => {
  const port = await findFreePort()
  await requireFreePort(port)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await expect(requireFreePort(port)).rejects.toThrow(`port ${port} on 127.0.0.1 is in use: choose another with --port`)
  server.close()
})

test('a program that fails is quoted, one that is interrupted is waited for', async () => {
  const failing = runProgram('/bin/sh', ['-c', 'echo the reason >&2; exit 3'])
  await expect(failing).rejects.toThrow('sh failed (exit code 3)\n  the reason')
  await expect(runProgram('/no/such/program', [])).rejects.toThrow('cannot run /no/such/program: ENOENT')

  const folder = await mkdtemp(join(tmpdir(), 'tsbouncer-program-'))
  const controller = new AbortController()
  const script = 'trap "echo ended >$1/ended; exit" TERM; echo up >$1/up; while :; do sleep 0.01; done'
  const running = runProgram('/bin/sh', ['-c', script, 'sh', folder], { signal: controller.signal })
  running.catch(() => {})
  await expect.poll(() => readFile(join(folder, 'up'), 'utf8').catch(() => '')).toBe('up\n')
  controller.abort()
  await expect(running).rejects.toMatchObject({ name: 'AbortError' })
  expect(await readFile(join(folder, 'ended'), 'utf8')).toBe('ended\n')
  await rm(folder, { recursive: true })
})

test.runIf(process.geteuid?.() !== 0)('a user that we may not become is named', async () => {
  const user = { name: 'daemon', uid: 1, gid: 1 }
  await expect(runProgram('/bin/sh', [], { user })).rejects.toThrow('cannot run /bin/sh as user daemon: EPERM')
})
