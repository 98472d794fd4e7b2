// What may go with an entry of what a server owes: what is to be done, and to be known, when that is answered or fails.

import type { ServerStatements } from './statements/server-statements.js'

export abstract class Note {
  /** The answer has to be seen whole, by `see`. */
  get needsWhole(): boolean {
    return false
  }

  /** The message that answers it, in place of `confirm` where it `needsWhole`. Nothing of it may be kept. */
  see(_body: Buffer, _server: ServerStatements): void {}

  /** It has been answered without an error. */
  confirm(_server: ServerStatements): void {}

  /** It has been answered with an error, or was skipped behind one. */
  undo(_server: ServerStatements): void {}

  /** The ErrorResponse that answers it, with names that its client knows; null where it is told as it came. */
  inOwnWords(_error: Buffer): Buffer | null {
    return null
  }

  /**
   * What an error about a statement of ours says, is so, whatever was thought before.
   * @param isMissing the server lacks it (26000); else it has something under its name (42P05)
   * @returns whether it was thought otherwise
   */
  correct(_error: Buffer, _isMissing: boolean, _server: ServerStatements): boolean {
    return false
  }

  /**
   * SQL that prepares or deallocates has been carried out.
   * @returns whether that was seen coming
   */
  onCommand(_verb: 'prepare' | 'deallocate', _server: ServerStatements): boolean {
    return false
  }
}
