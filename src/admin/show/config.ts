// SHOW CONFIG: the settings of [pgbouncer]; settings that hold secrets come hidden.

import { settingNames, settings } from '../../config/settings.js'
import { defineTable, text } from '../table.js'

export const showConfig = defineTable(
  'CONFIG',
  (administration) => {
    const { raw } = administration.config()
    return settingNames.map((name) => ({ name, value: raw.get(name), ...settings[name] }))
  },
  [
    ['key', text, (setting) => setting.name],
    ['value', text, (setting) => setting.value],
    ['default', text, (setting) => setting.fallback],
    ['changeable', text, (setting) => (setting.reloadable ? 'yes' : 'no')],
  ],
)
