// psql on the console: -c, several commands, \watch, and what it asks of its own accord.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually } from '../harness/pooler.js'
import { RunningProgram } from './program.js'
import { isInstalled } from './toolchain.js'

const hasPsql = await isInstalled('psql')

describe.skipIf(!hasPsql)(hasPsql ? 'psql' : 'psql is not installed', () => {
  let pooler: RunningProgram
  beforeAll(async () => {
    pooler = await RunningProgram.start('tsbouncer')
  })
  afterAll(() => pooler?.[Symbol.asyncDispose]())

  function start(...args: string[]) {
    const login = ['-X', '-h', '127.0.0.1', '-p', String(pooler.port), '-U', 'admin', '-d', 'pgbouncer']
    const child = spawn('psql', [...login, ...args], { env: { ...process.env, PGPASSWORD: 'admin', PGTZ: undefined } })
    const output = { out: '', err: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output.out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output.err += text
    })
    return { child, output, ended: once(child, 'close') }
  }

  /** What it writes for a script given on its standard input. */
  async function script(text: string, ...args: string[]): Promise<{ out: string; err: string }> {
    const { child, output, ended } = start(...args)
    child.stdin.end(text)
    await ended
    return output
  }

  test('-c shows a table; more than one are run one after the other', async () => {
    const { out, err } = await script('', '-A', '-t', '-c', 'SHOW VERSION', '-c', 'PAUSE', '-c', 'RESUME')
    expect([out, err]).toEqual([expect.stringMatching(/^PgBouncer 1\.26\.1.*\nPAUSE\nRESUME\n$/), ''])
  })

  test('commands, help and errors in one session', async () => {
    const { out, err } = await script('show databases;\nshow help;\nnonsense;\nshow state;\n', '--csv')
    expect(out).toMatch(/^name,host,port,database,force_user,/)
    expect(out).toMatch(/key,value\nactive,yes\npaused,no\nsuspended,no\n$/)
    expect(err).toContain('NOTICE:  Console usage')
    expect(err).toContain("ERROR:  invalid command 'nonsense;', use SHOW HELP;")
  })

  test('\\d, \\l, \\x and \\conninfo do not end the session', async () => {
    const { out, err } = await script('\\d\n\\l\n\\du\n\\x\n\\conninfo\nshow version;\n')
    expect(out).toContain('version | PgBouncer 1.26.1')
    expect(err.match(/ERROR: {2}invalid command/g)).toHaveLength(3)
    expect(err).not.toMatch(/connection to server was lost|terminated/)
  })

  test('\\watch shows a table again and again', async () => {
    const { child, output, ended } = start('-A', '-t')
    child.stdin.write('show version \\watch 0.1\n')
    await eventually(() => (output.out.match(/PgBouncer/g) ?? []).length >= 3)
    child.kill('SIGINT')
    child.stdin.end()
    await ended
    expect(output.err).toMatch(/^(Cancel request sent\n)?$/)
  })
})
