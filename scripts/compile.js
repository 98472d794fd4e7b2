// Compiles as tsc does, with TypeScript's native compiler; with the one in JavaScript where npm has left the native one out
// (--omit=optional), or there is none for the platform. Both take the same words.

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const { resolve } = createRequire(import.meta.url)

function compiler() {
  const native = resolve('typescript/package.json')
  try {
    createRequire(native).resolve(`@typescript/typescript-${process.platform}-${process.arch}/package.json`)
    return dirname(native)
  } catch {
    return dirname(resolve('typescript-js/package.json'))
  }
}

const { status } = spawnSync(process.execPath, [join(compiler(), 'bin', 'tsc'), ...process.argv.slice(2)], {
  stdio: 'inherit',
})
process.exit(status ?? 1)
