// The requests that a server has yet to answer.

import { Bind, Dues, Execute, Outstanding, Query, Sync } from '../../src/relay/outstanding.js'
import { type Suite, short } from './suite.js'

const owner = { name: 'a client' }
const queue = new Outstanding<typeof owner, object>()
const dues = new Dues()
const depth = 100

export const outstanding: Suite = {
  name: 'outstanding requests',
  cases: () => [
    short('push and shift one', () => {
      queue.push(Query, owner, null, dues)
      queue.shift()
    }),
    short(`push and shift a pipeline of ${depth} times Bind, Execute, Sync`, () => {
      for (let i = 0; i < depth; i++) {
        queue.push(Bind, owner, null, dues)
        queue.push(Execute, owner, null, dues)
        queue.push(Sync, owner, null, dues)
      }
      while (queue.length > 0) queue.shift()
    }),
  ],
}
