// docs/settings.md, written from the tables; a test holds the file to it.

import { databaseKeys } from './databases.js'
import type { EntryKey } from './entry-keys.js'
import { peerKeys } from './peers.js'
import { type Setting, settingNames, settings } from './settings.js'
import { userKeys } from './users.js'

export function renderSettingsPage(): string {
  return [introduction, ...settingNames.map((name) => renderSetting(name, settings[name])), renderEntries()].join('\n')
}

const introduction = `# Settings

tsbouncer reads pgbouncer.ini as pgbouncer does; [pgbouncer.ini.example](../pgbouncer.ini.example) has every setting.
This page is written from the tables in \`src/config/\`: \`UPDATE_DOCS=1 npx vitest run test/config\` does it again.

**The file.** \`[section]\` headers and \`key = value\` lines. A line that begins with \`;\` or \`#\` is a comment. A value is the
rest of its line, quotes and all. A key that has other characters than letters, digits and \`_.*-\` stands in single or
double quotes, with a quote of that kind doubled. \`%include FILE\` reads another file, relative to the working directory, up
to ten deep. The last value of a key counts; a second \`[pgbouncer]\` header sets back to the default what came before it.

**Mistakes.** An unknown key or a wrong value is an error that names file and line. At start nothing starts; at a reload
nothing changes. (pgbouncer keeps what stood before the mistake.)

**Types.** *int*: a whole number as in C, so \`0x1f\` and \`0777\` too. *0 or 1*: on and off; the words on, yes and true are
errors, as in pgbouncer. *time*: seconds, with a fraction where wanted. *comma list*: words between commas. *text*: the rest
of the line. Words to choose from may be written in any case.

**Change.** *reload*: by \`RELOAD\`, SIGHUP, or \`SET\` on the console. *restart*: a reload keeps the old value and says so.

As an object, for the library, the sections and keys are the same:
\`{ pgbouncer: { pool_mode: 'transaction' }, databases: { app: { host: '10.0.0.1', pool_size: 20 } } }\`.

## [pgbouncer]
`

function renderSetting(name: string, { type, fallback, reloadable, meaning, support }: Setting<unknown>): string {
  const unit = type.unit === undefined ? '' : ` (${type.unit})`
  const value = fallback === null ? 'unset' : fallback === '' ? 'empty' : `\`${fallback}\``
  return `### ${name}

${meaning}

- Type: ${type.name}${unit}
- Default: ${value}
- Change: ${reloadable ? 'reload' : 'restart'}
${support.kind === 'full' ? '' : `- ${noEffect[support.kind]}: ${support.reason}.\n`}`
}

const noEffect = { warned: 'No effect; another value gives a warning', refused: 'Refused with another value' } as const

function renderEntries(): string {
  return `## [databases]

\`name = key=value key=value …\`, or \`name = postgres://user:password@host:port/dbname?key=value\`, after which pairs may
follow. Only the space separates pairs; a value with spaces stands in single quotes, with \`''\` for a quote; no value is
empty. The name \`*\` is for databases without an entry of their own. The name \`pgbouncer\` is the console's.

${renderKeys(databaseKeys)}
## [users]

\`name = key=value key=value …\`. What is set here beats the entry of the database, which beats the global setting.

${renderKeys(userKeys)}
## [peers]

\`peer_id = key=value key=value …\`, with the peer_id of the other pooler, 1 to 65535. An entry with one's own is no harm.

${renderKeys(peerKeys)}`
}

function renderKeys(keys: Readonly<Record<string, Pick<EntryKey<never>, 'meaning'>>>): string {
  const rows = Object.entries(keys).map(([name, { meaning }]) => `| ${name} | ${meaning} |\n`)
  return `| Key | Meaning |\n|---|---|\n${rows.join('')}`
}
