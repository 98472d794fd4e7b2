// What a clone is built and tested with, also where npm has left out what is optional.

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const root = new URL('..', import.meta.url).pathname
let folder = ''

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbouncer-scripts-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function run(script: string, ...words: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [script, ...words], (_, stdout, stderr) =>
      resolve({ code: child.exitCode, stdout, stderr }),
    )
  })
}

/** A clone with these packages; of `typescript` without the program that is an optional dependency of it. */
async function clone(...packages: string[]): Promise<void> {
  await cp(join(root, 'scripts'), join(folder, 'scripts'), { recursive: true })
  await cp(join(root, 'package.json'), join(folder, 'package.json'))
  await mkdir(join(folder, 'node_modules/typescript'), { recursive: true })
  await cp(join(root, 'node_modules/typescript/package.json'), join(folder, 'node_modules/typescript/package.json'))
  for (const name of packages) await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name))
}

test('it is compiled without the native compiler as well', async () => {
  await clone('typescript-js')
  expect(await run(join(folder, 'scripts/compile.js'), '--version')).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^Version 6\./),
    stderr: '',
  })
  expect((await run(join(root, 'scripts/compile.js'), '--version')).stdout).toMatch(/^Version 7\./)
  expect((await run(join(root, 'scripts/compile.js'), '--no-such-option')).code).not.toBe(0)
})

test('npm test says at once that something goes on', async () => {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  expect(scripts.pretest).toBe('node scripts/before-tests.js')
  const { code, stdout, stderr } = await run(join(root, 'scripts/before-tests.js'))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^Tests: .*\n$/)
})

test('without the optional parts of the test runner it ends with one sentence', async () => {
  await clone()
  const { code, stderr } = await run(join(folder, 'scripts/before-tests.js'))
  expect(code).toBe(1)
  expect(stderr).toMatch(/^The test runner has parts .* npm ci --include=optional .*PG_BIN.*\.\n$/)
})
