// What a client says costs in proportion to its bytes, however it is written: eight times as much may cost eight times as much.

import { describe, expect, test } from 'vitest'
import { tokenize as consoleTokens } from '../../src/admin/tokens.js'
import { saslprep } from '../../src/auth/saslprep.js'
import { checkNonce } from '../../src/auth/scram-text.js'
import { clipped, logText } from '../../src/observe/log-line.js'
import { ParameterSet, trackedNames } from '../../src/pool/parameters.js'
import { judge } from '../../src/pool/session-classify.js'
import { preparedText, readCommands } from '../../src/pool/sql-command.js'
import { canonicalValue } from '../../src/pool/startup-values.js'
import { reportFields } from '../../src/protocol/backend.js'
import { bytesOf, textOf } from '../../src/protocol/byte-text.js'
import { statements, tokenize } from '../../src/protocol/sql.js'

/** Texts of about `n` characters that a careless expression or loop would go through again and again. */
const texts: Readonly<Record<string, (n: number) => string>> = {
  'PREPARE and blanks': (n) => `prepare x as${' '.repeat(n)}select 1`,
  'PREPARE, blanks amid the statement': (n) => `prepare x as select ${' '.repeat(n)}1`,
  'PREPARE, blanks and semicolons amid it': (n) => `prepare x as select ${' \n;'.repeat(n / 3)}1`,
  'PREPARE, semicolons behind it': (n) => `prepare x as select 1${';'.repeat(n)}`,
  'DELETE with many ids': (n) => `delete from t where id in (${'1,'.repeat(n / 2)}1)`,
  'a comment, then DELETE with many ids': (n) => `/* execute */ delete from t where id in (${'1,'.repeat(n / 2)}1)`,
  'EXECUTE with many parameters': (n) => `execute x(${'1,'.repeat(n / 2)}1)`,
  'many EXECUTEs': (n) => 'execute a;'.repeat(n / 10),
  'many PREPAREs': (n) => many(n / 48, (i) => `prepare a as select set_config('n.n${i}','',false);`),
  'many SETs': (n) => many(n / 12, (i) => `set a.a${i}=1;`),
  'many DISCARD ALLs': (n) => 'discard all;'.repeat(n / 12),
  'many calls': (n) => `select ${many(n / 30, (i) => `set_config('a.a${i}','1',false),`)}1`,
  'calls in calls': (n) => `select ${'set_config(a,'.repeat(n / 13)}`,
  'blank lines behind SET': (n) => `reset a;${'\n'.repeat(n)}`,
  'blanks at the beginnings of lines': (n) => `reset a;${'\n \t'.repeat(n / 3)}`,
  'a name of many parts': (n) => `set ${'a.'.repeat(n / 2)}a=1`,
  'a DO of many SETs': (n) => `do $$ begin ${'set a=1;'.repeat(n / 8)} end $$`,
  'a DO of the word SET': (n) => `do $$ ${'set '.repeat(n / 4)} $$`,
  'a DO of many strings': (n) => `do $$ execute ${"'set' ".repeat(n / 6)} $$`,
  'many temporary tables': (n) => 'create temp table a(b int);'.repeat(n / 27),
  'the word TEMP': (n) => `create ${'create temp '.repeat(n / 12)}`,
  'the word DECLARE': (n) => 'declare '.repeat(n / 8),
  'comments in comments': (n) => `${'/*'.repeat(n / 2)} discard all`,
  'comments behind comments': (n) => `${'/**/'.repeat(n / 4)}prepare x as select 1`,
  'dollar signs': (n) => `reset a;${'$a'.repeat(n / 2)}`,
  'dollar quotes without an end': (n) => `reset a; ${many(n / 6, (i) => `$a${i}$`)}`,
  backslashes: (n) => `reset a; select E'${'\\\\'.repeat(n / 2)}'`,
  'escaped quotes': (n) => `reset a; select E'${"\\'".repeat(n / 2)}'`,
  'doubled quotes': (n) => `reset a; select '${"''".repeat(n / 2)}' "${'""'.repeat(n / 2)}"`,
  'a quote without an end': (n) => `reset a; select "${'""'.repeat(n / 2)}`,
  'one word': (n) => `reset a; select pg_temp${'a'.repeat(n)}`,
  'one number': (n) => `reset a; select ${'1'.repeat(n)}`,
  'many words': (n) => `reset a; select ${'A '.repeat(n / 2)}`,
  parentheses: (n) => `reset a; select ${'('.repeat(n)}`,
  'what is not ASCII': (n) => `reset a; select ${'\u00e9'.repeat(n)}`,
  'what is not UTF-8': (n) => `reset a; ${'\udcff\udc80a'.repeat(n / 3)}`,
  'commas and blanks': (n) => ' ,'.repeat(n / 2),
  'a SET on the console': (n) => `set x${' '.repeat(n)}y`,
  'control characters': (n) => '\x07\n'.repeat(n / 2),
}

function many(count: number, text: (n: number) => string): string {
  return Array.from({ length: count }, (_, n) => text(n)).join('')
}

const tracked = trackedNames(['app.tenant'])
const usual = { reported: new Map<string, string>(), defaults: new ParameterSet(tracked) }

/** What reads the texts of clients. */
const readers: Readonly<Record<string, (text: string) => unknown>> = {
  statements: (text) => statements(tokenize(text) ?? []),
  'names of prepared statements': (text) =>
    readCommands(text, false)
      ?.slice(0, 1)
      .map((command) => preparedText(text, command)),
  'session state': judge,
  console: consoleTokens,
  log: (text) => logText(clipped(text)) + logText(text),
  SASLprep: saslprep,
  SCRAM: (text) => {
    try {
      checkNonce(text)
    } catch {
      // said
    }
  },
  bytes: (text) => textOf(bytesOf(text)),
  reports: (text) => reportFields(bytesOf(`M${text.replaceAll(' ', '\0M')}\0\0`)),
  'startup values': (text) =>
    ['client_encoding', 'datestyle', 'application_name', 'scram_iterations'].map((name) =>
      canonicalValue(name, text, usual),
    ),
  alignment: (text) => {
    const [client, server] = [new ParameterSet(tracked), new ParameterSet(tracked)]
    for (let at = 0; at < text.length; at += 5000) {
      client.set('app.tenant', text.slice(at, at + 5000))
      const alignment = client.alignment(server)
      if (alignment !== null) server.expect(alignment)
    }
  },
}

/** CPU time, ms: the least of some runs, after one to warm up. */
function cost(run: () => unknown): number {
  run()
  let least = Number.POSITIVE_INFINITY
  for (let n = 0; n < 3; n++) {
    const before = process.cpuUsage()
    run()
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, (user + system) / 1000)
  }
  return least
}

/** What is less than this is not measured well, and nobody's concern, ms. */
const negligible = 4

describe.each(Object.entries(readers))('%s', (_, read) => {
  test('eight times as much costs about eight times as much', { timeout: 120_000 }, () => {
    const steep: string[] = []
    for (const [name, make] of Object.entries(texts)) {
      const [short, long] = [make(8_000), make(64_000)]
      for (let attempt = 0; ; attempt++) {
        const [one, eight] = [cost(() => read(short)), cost(() => read(long))]
        if (eight < 20 * Math.max(one, negligible / 8)) break
        if (attempt < 3) continue // something else had the processor, or the compiler
        steep.push(`${name}: ${one} ms, then ${eight} ms`)
        break
      }
    }
    expect(steep).toEqual([])
  })
})

test('a DO within a DO costs what its text costs, not twice that for each', () => {
  const flat = 'set a=1;'.repeat(8000)
  const nested = `do $a$ do $b$ do $c$ do $d$ ${flat} $d$ $c$ $b$ $a$`
  let ratio = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 4; attempt++) {
    ratio = Math.min(ratio, cost(() => judge(nested)) / cost(() => judge(`do $a$ ${flat} $a$`)))
  }
  expect(ratio).toBeLessThan(4)
})
