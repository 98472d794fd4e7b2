// SHOW STATE: is the pooler active, paused or suspended.

import { defineTable, text } from '../table.js'

export const showState = defineTable(
  'STATE',
  (administration) => {
    const { active, paused, suspended } = administration.state()
    return Object.entries({ active, paused, suspended })
  },
  [
    ['key', text, ([key]) => key],
    ['value', text, ([, value]) => (value ? 'yes' : 'no')],
  ],
)
