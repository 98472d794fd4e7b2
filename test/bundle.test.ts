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

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-bundle-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test.each(['esm', 'cjs'])('esbuild makes a bundle of it that runs: %s', async (format) => {
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
  const source = join(folder, `${format}.ts`)
  const bundle = join(folder, format, 'bundle', format === 'esm' ? 'app.mjs' : 'app.cjs')
  await writeFile(source, program)
  await run(process.execPath, [
    join(root, 'node_modules/esbuild-wasm/bin/esbuild'),
    source,
    '--bundle',
    '--platform=node',
    '--target=node20',
    `--format=${format}`,
    `--outfile=${bundle}`,
    '--log-level=warning',
  ]).then(({ stdout, stderr }) => expect(stdout + stderr).toBe(''))
  expect(await readdir(join(folder, format, 'bundle'))).toHaveLength(1)
  const { stdout, stderr } = await run(process.execPath, [bundle], { cwd: folder })
  expect(JSON.parse(stdout)).toEqual([{ n: 42 }, { version: versionText }])
  // The log, which goes to standard error.
  for (const line of stderr.trimEnd().split('\n')) expect(JSON.parse(line)).toMatchObject({ level: 'info' })
})
