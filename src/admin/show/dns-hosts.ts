// SHOW DNS_HOSTS: host names in the DNS cache.

import { defineTable, int8, text } from '../table.js'

export const showDnsHosts = defineTable('DNS_HOSTS', (administration) => administration.dnsHosts(), [
  ['hostname', text, (host) => host.hostname],
  ['ttl', int8, (host) => Math.max(host.ttl, 0)],
  ['addrs', text, (host) => host.addresses.join(',')],
])
