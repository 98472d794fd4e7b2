// IP addresses and networks as bytes, for the address field of HBA rules.

import { isIPv4, isIPv6 } from 'node:net'

/** 4 or 16 bytes, in network order. */
export type Address = readonly number[]

export interface Network {
  readonly address: Address
  /** Of the same length; need not be contiguous. */
  readonly mask: Address
}

/** As inet_pton: no zone, no leading zeros, no blanks. */
export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return text.split('.').map(Number)
  return isIPv6(text) && !text.includes('%') ? parseIPv6(text) : undefined
}

function parseIPv6(text: string): Address {
  const [head = '', tail] = text.split('::')
  const front = groups(head)
  if (tail === undefined) return front
  const back = groups(tail)
  return [...front, ...new Array<number>(16 - front.length - back.length).fill(0), ...back]
}

function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number)
    const value = Number.parseInt(group, 16)
    return [value >> 8, value & 255]
  })
}

const mappedPrefix = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]

/** An IPv4 address that comes as `::ffff:a.b.c.d`, as clients of a dual-stack socket do, becomes the IPv4 address. */
export function unmapAddress(address: Address): Address {
  return address.length === 16 && mappedPrefix.every((byte, i) => address[i] === byte) ? address.slice(12) : address
}

/** The same for a network, if it is within `::ffff:0:0/96`. */
export function unmapNetwork(network: Network): Network {
  const address = unmapAddress(network.address)
  const fixed = network.mask.slice(0, 12).every((byte) => byte === 255)
  return address.length < network.address.length && fixed ? { address, mask: network.mask.slice(12) } : network
}

/** The mask of `/bits` for an address of this many bytes; undefined where there are not so many bits. */
export function prefixMask(bytes: number, bits: number): Address | undefined {
  if (bits > bytes * 8) return undefined
  return Array.from({ length: bytes }, (_, i) => 255 & (0xff00 >> Math.min(8, Math.max(0, bits - i * 8))))
}

/** Returns whether the network's address has bits where its mask has none: then nothing is in it. */
export function hasHostBits({ address, mask }: Network): boolean {
  return address.some((byte, i) => (byte & ~(mask[i] ?? 0)) !== 0)
}

export function contains({ address, mask }: Network, candidate: Address): boolean {
  return (
    candidate.length === address.length && candidate.every((byte, i) => (byte & (mask[i] ?? 0)) === (address[i] ?? 0))
  )
}
