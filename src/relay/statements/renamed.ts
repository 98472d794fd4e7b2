// The note of a message that was sent under another name than its client's.

import { Note } from '../note.js'
import { reworded } from './reserved-names.js'

export class Renamed extends Note {
  private readonly reserved: string
  private readonly name: string

  /** @param name the client's own, a character a byte */
  constructor(reserved: string, name: string) {
    super()
    this.reserved = reserved
    this.name = name
  }

  override inOwnWords(error: Buffer): Buffer | null {
    return reworded(error, this.reserved, this.name)
  }
}
