// SHOW PEERS.

import { defineTable, int4, text } from '../table.js'

export const showPeers = defineTable('PEERS', (administration) => administration.peers(), [
  ['peer_id', int4, (peer) => peer.peerId],
  ['host', text, (peer) => peer.host],
  ['port', int4, (peer) => peer.port],
  ['pool_size', int4, (peer) => peer.poolSize],
])
