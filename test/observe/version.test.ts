import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { versionText } from '../../src/observe/version.js'

test('the version is that of package.json', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(versionText).toMatch(/^PgBouncer 1\.\d+\.\d+ \(tsbouncer [^)]+\)$/)
  expect(versionText).toContain(`(tsbouncer ${version})`)
})
