// SHOW VERSION: the text that tools sniff to choose columns.

import { defineTable, text } from '../table.js'

export const showVersion = defineTable('VERSION', ({ version }) => [version], [['version', text, (version) => version]])
