// SHOW PEER_POOLS.

import { defineTable, int4 } from '../table.js'

export const showPeerPools = defineTable('PEER_POOLS', (administration) => administration.peerPools(), [
  ['peer_id', int4, (peer) => peer.peerId],
  ['cl_active_cancel_req', int4, (peer) => peer.clActiveCancelReq],
  ['cl_waiting_cancel_req', int4, (peer) => peer.clWaitingCancelReq],
  ['sv_active_cancel', int4, (peer) => peer.svActiveCancel],
  ['sv_login', int4, (peer) => peer.svLogin],
])
