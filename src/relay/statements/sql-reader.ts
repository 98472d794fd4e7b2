// What it takes to rewrite the SQL commands of one client that name a statement, by whatever protocol they come.

import type { Cutter } from '../../io/cutter.js'
import type { Frames } from '../../protocol/framing.js'
import type { ClientSide } from '../pair.js'
import type { Reading } from './outcome.js'
import type { Rewriter } from './rewriter.js'
import type { StatementProvision } from './statement-provision.js'

export abstract class SqlReader {
  protected readonly client: ClientSide
  protected readonly names: Reading
  protected readonly out: Rewriter
  protected readonly frames: Frames
  protected readonly cutter: Cutter
  protected readonly provision: StatementProvision

  constructor(
    client: ClientSide,
    names: Reading,
    out: Rewriter,
    frames: Frames,
    cutter: Cutter,
    provision: StatementProvision,
  ) {
    this.client = client
    this.names = names
    this.out = out
    this.frames = frames
    this.cutter = cutter
    this.provision = provision
  }
}
