// Two ends of a connection in memory.

import { Duplex } from 'node:stream'

/** What is written to one can be read at the other. */
export function pipes(): [Duplex, Duplex] {
  const ends: Duplex[] = []
  for (const other of [1, 0]) {
    ends.push(
      new Duplex({
        read() {},
        write(chunk, _encoding, done) {
          ends[other]!.push(chunk)
          done()
        },
      }),
    )
  }
  return ends as [Duplex, Duplex]
}
