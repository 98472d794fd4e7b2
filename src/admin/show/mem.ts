// SHOW MEM.

import { defineTable, int4, text } from '../table.js'

export const showMem = defineTable('MEM', (administration) => administration.memory(), [
  ['name', text, (cache) => cache.name],
  ['size', int4, (cache) => cache.size],
  ['used', int4, (cache) => cache.used],
  ['free', int4, (cache) => cache.free],
  ['memtotal', int4, (cache) => cache.total],
])
