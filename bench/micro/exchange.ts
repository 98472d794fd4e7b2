// The queue of what a server owes.

import { Bind, ExchangeQueue, Execute, Query, Sync } from '../../src/relay/exchange.js'
import { type Suite, short } from './suite.js'

const owner = { name: 'a client' }
const queue = new ExchangeQueue<typeof owner, object>()
const depth = 100

export const exchange: Suite = {
  name: 'exchange queue',
  cases: () => [
    short('push and shift one', () => {
      queue.push(Query, owner, null)
      queue.shift()
    }),
    short(`push and shift a pipeline of ${depth} times Bind, Execute, Sync`, () => {
      for (let i = 0; i < depth; i++) {
        queue.push(Bind, owner, null)
        queue.push(Execute, owner, null)
        queue.push(Sync, owner, null)
      }
      while (queue.length > 0) queue.shift()
    }),
  ],
}
