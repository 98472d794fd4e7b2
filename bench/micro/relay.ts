// A transaction from end to end, but for sockets: client to server and back, with the server taken from the pool for it.

import {
  type Conversation,
  named,
  preparation,
  repeatedPreparation,
  simple,
  thousandRows,
  unnamed,
} from './messages.js'
import { PoolFixture } from './pool-fixture.js'
import { type Case, type Suite, short } from './suite.js'

const clients = 20
const servers = 20

export const relay: Suite = {
  name: 'relay',
  async cases() {
    const fixture = await prepared()
    const lasting = await prepared('host=127.0.0.1 server_lost=error')
    return [
      transaction(fixture, 'simple query', simple),
      transaction(fixture, 'extended query, unnamed statement', unnamed),
      transaction(fixture, 'prepared statement, Bind renamed', named),
      transaction(lasting, 'simple query, server_lost = error', simple),
      transaction(lasting, 'unnamed statement, server_lost = error', unnamed),
      transaction(lasting, 'prepared statement, server_lost = error', named),
      {
        name: 'answer of 1000 rows',
        bytes: thousandRows.answer.reduce((sum, chunk) => sum + chunk.length, 0),
        run: () => fixture.transact(thousandRows),
      },
    ]
  },
}

async function prepared(entry?: string): Promise<PoolFixture> {
  const fixture = await PoolFixture.make(clients, servers, entry)
  fixture.transact(preparation)
  for (let i = 1; i < clients; i++) fixture.transact(repeatedPreparation) // on the same server, the latest used
  return fixture
}

function transaction(fixture: PoolFixture, name: string, conversation: Conversation): Case {
  const before = fixture.received
  fixture.transact(conversation)
  const expected = conversation.answer.reduce((sum, chunk) => sum + chunk.length, 0)
  if (fixture.received - before !== expected) throw new Error(`${name}: the client was sent something else`)
  return short(name, () => fixture.transact(conversation))
}
