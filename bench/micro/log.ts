// Lines of the log, written where nothing has to be stored.

import { createLog, type LogPeer } from '../../src/observe/log.js'
import { fullLine } from '../../src/observe/log-line.js'
import { type Suite, short } from './suite.js'

const text = 'login attempt: db=shop user=sam tls=no replication=none'
const peer: LogPeer = {
  logPrefix: 'C-0x55000000a230: shop/sam@10.0.0.1:51234',
  id: 2595,
  database: 'shop',
  user: 'sam',
  address: '10.0.0.1:51234',
}

export const log: Suite = {
  name: 'log',
  cases() {
    const settings = { logfile: '/dev/null', stderr: 'nothing' } as const
    const lines = createLog(settings)
    const json = createLog({ ...settings, log_format: 'json' })
    const date = new Date()
    return [
      short('a line formatted', () => fullLine(date, process.pid, 'info', text)),
      short('a line about a client, written', () => lines.info(text, peer)),
      short('the same as JSON', () => json.info(text, peer)),
      short('a line that is not wanted', () => lines.debug(text, peer)),
    ]
  },
}
