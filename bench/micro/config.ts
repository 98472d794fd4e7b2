// Loading a configuration of a thousand databases.

import { readIni } from '../../src/config/ini.js'
import { loadConfig } from '../../src/config/load.js'
import type { Suite } from './suite.js'

const count = 1000
const databases = Array.from(
  { length: count },
  (_, i) => `shop_${i} = host=10.0.${i >> 8}.${i & 255} port=5432 dbname=shop_${i} pool_size=10 pool_mode=transaction`,
)
const text = `[databases]\n${databases.join('\n')}\n\n[pgbouncer]\nlisten_port = 6432\npool_mode = transaction\n`
const readFile = async (): Promise<string> => text

export const config: Suite = {
  name: 'config',
  cases: () => [
    { name: `ini of ${count} databases, read`, bytes: text.length, run: () => readIni('bench.ini', readFile) },
    { name: `ini of ${count} databases, loaded`, bytes: text.length, run: () => loadConfig('bench.ini', { readFile }) },
  ],
}
