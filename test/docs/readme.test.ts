import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { loadConfig } from '../../src/config/load.js'
import { postgres } from '../harness/postgres.js'
import { Running } from '../process/command.js'

const root = new URL('../../', import.meta.url).pathname
const readme = readFileSync(join(root, 'README.md'), 'utf8')
const block = (language: string): string =>
  new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'm').exec(readme)?.[1] ?? ''

test('the configuration to begin with loads, without a warning', async () => {
  const config = await loadConfig('README.md', { readFile: async () => block('ini') })
  expect(config.databases.get('app')?.hosts).toEqual(['10.0.0.1'])
  expect(config.warnings).toEqual([])
})

test('the program that uses the library works as it stands, but for where the server is', async () => {
  const { primary, roles } = postgres()
  const { user, password } = roles.scram_user
  const program = block('js')
    .replace(
      "port: 5432, user: 'app', password: 'secret'",
      `port: ${primary.port}, user: '${user}', password: '${password}'`,
    )
    .replace("host: '127.0.0.1'", "dbname: 'postgres', host: '127.0.0.1'")
  expect(program).toContain(user)
  const folder = await mkdtemp(join(tmpdir(), 'tsbouncer-readme-'))
  try {
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    await writeFile(join(folder, 'program.mjs'), program.replace("'tsbouncer'", `'${join(root, 'dist/index.js')}'`))
    await using running = new Running(spawn(process.execPath, [join(folder, 'program.mjs')]))
    expect(await running.ended, running.stderr).toBe(0)
    expect(running.stdout).toContain(`[ { current_user: '${user}' } ]`)
    expect(running.stdout).toContain("pool_mode: 'transaction'")
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('the commands are those of package.json', () => {
  const { scripts, engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  expect(readme).toContain('npm ci && npm start')
  expect(readme).toContain('npm ci && npm test')
  expect(scripts).toMatchObject({ start: expect.stringContaining('main.js demo'), test: expect.any(String) })
  expect(readme).toContain(`Node.js ${engines.node.replace('>=', '')} or later`)
})
