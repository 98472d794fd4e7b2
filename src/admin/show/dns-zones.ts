// SHOW DNS_ZONES: always empty, since Node.js cannot ask for the SOA record that dns_zone_check_period is about.

import { defineTable, int4, int8, text } from '../table.js'

interface Zone {
  readonly name: string
  readonly serial: number
  readonly count: number
}

export const showDnsZones = defineTable('DNS_ZONES', (): Zone[] => [], [
  ['zonename', text, (zone) => zone.name],
  ['serial', int8, (zone) => zone.serial],
  ['count', int4, (zone) => zone.count],
])
