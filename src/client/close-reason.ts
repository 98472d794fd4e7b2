// Why clients are closed: the conditions that they are told, and the ends of which nobody is told.

import { type Condition, conditions } from '../protocol/errors.js'

/** The texts are pgbouncer's, since other tools read them in the log: `closing because: client close request`. */
export const clientCloseTexts = {
  client_close_request: 'client close request',
  client_unexpected_eof: 'client unexpected eof',
  /** To the console, which tells nobody. */
  malformed_message: 'bad packet header',
  /** It has said nothing, as what looks whether a port is open: not logged. */
  silent: '',
  /** A server's own error, in its words. */
  passed_on: '%s',
} as const

export type ClientCloseReason = keyof typeof clientCloseTexts | Condition

/** The text of a reason that comes without an error which has its own. */
export function clientCloseText(reason: ClientCloseReason): string {
  return reason in clientCloseTexts
    ? clientCloseTexts[reason as keyof typeof clientCloseTexts]
    : conditions[reason as Condition][2]
}
