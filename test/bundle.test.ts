// The library within a bundle: one file, run where nothing else is.

import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { versionText } from '../src/observe/version.js'
import { postgres } from './harness/postgres.js'

const run = promisify(execFile)
const root = new URL('..', import.meta.url).pathname
let folder = ''

const bundleOf = (format: string): string => join(folder, format, format === 'esm' ? 'app.mjs' : 'app.cjs')

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-bundle-'))
  const { host, port } = postgres().primary
  const program = `
    import { createPooler, createLog } from ${JSON.stringify(join(root, 'dist/index.js'))}
    import postgres from ${JSON.stringify(join(root, 'node_modules/postgres/src/index.js'))}

    async function main() {
      const pooler = createPooler({
        log: createLog({ log_format: 'json' }),
        config: {
          pgbouncer: { auth_type: 'any', pool_mode: 'transaction', unix_socket_dir: '' },
          databases: { shop: 'postgres://trust_user@${host}:${port}/postgres?sslmode=disable' },
        },
      })
      await pooler.start()
      const sql = postgres({ socket: () => pooler.connect(), user: 'service', database: 'shop', max: 1 })
      const [row] = await sql\`select 42::int as n\`
      const [version] = await pooler.show('version')
      await sql.end()
      await pooler.close()
      console.log(JSON.stringify([row, version]))
    }
    main()`
  const source = join(folder, 'program.ts')
  await writeFile(source, program)
  const bundles = ['esm', 'cjs'].map((format) => ({
    entryPoints: [source],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format,
    outfile: bundleOf(format),
    logLevel: 'warning',
  }))
  // In a process of its own, which compiles esbuild itself first: it comes as WebAssembly, and takes its time.
  const build = `
    const { build } = require(${JSON.stringify(join(root, 'node_modules/esbuild-wasm'))})
    Promise.all(${JSON.stringify(bundles)}.map(build)).then(() => process.exit())`
  const { stdout, stderr } = await run(process.execPath, ['--eval', build])
  expect(stdout + stderr, 'warnings').toBe('')
}, 180_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

test.each(['esm', 'cjs'])('esbuild makes a bundle of it that runs: %s', async (format) => {
  expect(await readdir(join(folder, format))).toHaveLength(1)
  const { stdout, stderr } = await run(process.execPath, [bundleOf(format)], { cwd: folder })
  expect(JSON.parse(stdout)).toEqual([{ n: 42 }, { version: versionText }])
  // The log, which goes to standard error.
  for (const line of stderr.trimEnd().split('\n')) expect(JSON.parse(line)).toMatchObject({ level: 'info' })
})
