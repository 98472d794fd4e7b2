// Before any test: dist is as new as src, and one PostgreSQL primary and standby run for all tests.

import { execFile } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { TestProject } from 'vitest/node'
import { DemoError } from '../../src/demo/demo-error.js'
import { startTestCluster, type TestCluster } from './cluster.js'

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

let cluster: TestCluster | undefined

export async function setup(project: TestProject): Promise<void> {
  const [, started] = await Promise.all([buildIfOlder(), startTestCluster().catch(sayAndEnd)])
  cluster = started
  project.provide('postgres', cluster.facts)
}

/** Without PostgreSQL there is nothing to test with; what to do about it is one sentence, and no stack. */
function sayAndEnd(error: unknown): never {
  if (!(error instanceof DemoError)) throw error
  console.error(error.message)
  process.exit(1)
}

export async function teardown(): Promise<void> {
  await cluster?.[Symbol.asyncDispose]()
}

/** Tests of the command line run what was built. */
async function buildIfOlder(): Promise<void> {
  const sources = ['src', 'package.json', 'tsconfig.json', 'tsconfig.build.json']
  const newestSource = Math.max(...(await Promise.all(sources.map((path) => newest(join(root, path))))))
  if (newestSource <= (await newest(join(root, 'dist')))) return
  try {
    await promisify(execFile)('npm', ['run', '--silent', 'build'], { cwd: root })
  } catch (error) {
    // Errors in types do not keep it from being built, and tests can run: `npm run check` is where they count.
    const output = error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error)
    console.warn(`npm run build:\n${output}`)
  }
}

/** The time of the latest change in a file or a folder, or 0 where there is none. */
async function newest(path: string): Promise<number> {
  const entry = await stat(path).catch(() => undefined)
  if (entry === undefined) return 0
  if (!entry.isDirectory()) return entry.mtimeMs
  const times = await Promise.all((await readdir(path)).map((name) => newest(join(path, name))))
  return Math.max(0, ...times)
}
