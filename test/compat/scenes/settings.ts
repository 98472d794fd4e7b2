// Every setting by SET: what is taken for a value, what is answered, and what SHOW CONFIG has then.

import { query } from '../../harness/raw-client.js'
import type { Answers, Scene } from '../scene.js'

/** Not to be played with: the run depends on them. */
const fixed =
  /^(conffile|logfile|admin_users|stats_users|auth_|syslog|disable_pqexec|verbose|client_tls|server_tls|listen|unix_|pidfile|user$|peer_id|max_packet_size|service_name|job_name)/

const values = ['1', '0', '7', '-1', '1.5', 'on', 'yes', 'nonsense', '', '0x10', '010', '1e2', ' 3', '99999999999']

export const settingScenes: readonly Scene[] = [
  {
    name: 'SET of every setting',
    since: '1.26',
    async play(pooler) {
      await using admin = await pooler.console()
      const settings = (await pooler.rows('SHOW CONFIG')).filter((row) => !fixed.test(row.key!))
      const answers: Answers = {}
      for (const { key, changeable } of settings) {
        answers[`${key}, changeable`] = changeable!
        if (changeable !== 'yes') continue
        const lines: string[] = []
        for (const value of values) {
          const told = await admin.ask(query(`SET ${key} = '${value}'`))
          const config = await admin.ask(query('SHOW CONFIG'))
          const shown = config.find((line) => line.startsWith(`D ${key}|`))?.split('|')[1]
          lines.push(`'${value}': ${told[0]}${told[0]?.startsWith('C ') ? ` -> ${shown}` : ''}`)
        }
        answers[key!] = lines
      }
      return answers
    },
  },
]
