// The drivers and ORMs of the matrix: which programs try them, what they can do, and what is needed to build and run them.

import type { Check } from './checks.js'
import type { Toolchain } from './toolchains.js'

export interface Part {
  /** Its row in the matrix. */
  readonly name: string
  readonly toolchain: Toolchain
  /** Which of the toolchain's programs. */
  readonly program: string
  readonly checks: readonly Check[]
}

const driver: readonly Check[] = [
  'connect',
  'types',
  'prepared',
  'shared',
  'batch',
  'copy',
  'cancel',
  'error',
  'reconnect',
  'altered',
]
const orm: readonly Check[] = ['migrate', 'crud']

export const parts: readonly Part[] = [
  {
    name: 'libpq: psql',
    toolchain: 'libpq',
    program: 'psql.sh',
    checks: ['connect', 'types', 'shared', 'batch', 'copy', 'cancel', 'error', 'reconnect', 'sql'],
  },
  { name: 'libpq: pgbench', toolchain: 'libpq', program: 'pgbench.sh', checks: ['shared', 'batch', 'error'] },
  { name: 'psycopg', toolchain: 'python', program: 'try_psycopg.py', checks: [...driver, 'versions', 'sql'] },
  { name: 'asyncpg', toolchain: 'python', program: 'try_asyncpg.py', checks: driver },
  { name: 'SQLAlchemy', toolchain: 'python', program: 'try_sqlalchemy.py', checks: orm },
  { name: 'Django', toolchain: 'python', program: 'try_django.py', checks: orm },
  { name: 'pgx', toolchain: 'go', program: 'pgx', checks: driver },
  { name: 'lib/pq', toolchain: 'go', program: 'libpq', checks: driver.filter((check) => check !== 'batch') },
  { name: 'GORM', toolchain: 'go', program: 'gorm', checks: orm },
  { name: 'tokio-postgres', toolchain: 'rust', program: 'tokio', checks: driver },
  { name: 'pgjdbc', toolchain: 'java', program: 'Pgjdbc', checks: driver },
  { name: 'Hibernate', toolchain: 'java', program: 'Hibernate', checks: orm },
  { name: 'Drizzle', toolchain: 'node', program: 'drizzle.mjs', checks: orm },
]
