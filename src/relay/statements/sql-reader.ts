// What it takes to rewrite the SQL commands of one client that name a statement, by whatever protocol they come.

import type { Cutter } from '../../io/cutter.js'
import type { Frames } from '../../protocol/framing.js'
import type { ClientRelay } from '../client-relay.js'
import type { Rewriter } from './rewriter.js'
import type { StatementNames } from './statement-names.js'
import type { StatementProvision } from './statement-provision.js'

export abstract class SqlReader {
  protected readonly client: ClientRelay
  protected readonly names: StatementNames
  protected readonly out: Rewriter
  protected readonly frames: Frames
  protected readonly cutter: Cutter
  protected readonly provision: StatementProvision

  constructor(
    client: ClientRelay,
    names: StatementNames,
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
