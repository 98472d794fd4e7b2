import { BlockList } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { contains, hasHostBits, parseAddress, prefixMask, unmapAddress, unmapNetwork } from '../../src/auth/address.js'

test.each([
  ['1.2.3.4', [1, 2, 3, 4]],
  ['::', Array.from({ length: 16 }, () => 0)],
  ['::1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
  ['ff11::', [255, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ['2001:db8::A:0b', [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 11]],
  ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
  ['1:2:3:4:5:6:7::', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 0]],
  ['::ffff:1.2.3.4', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4]],
])('%s is read', (text, bytes) => {
  expect(parseAddress(text)).toEqual(bytes)
})

test.each([
  '',
  '1.2.3',
  '1.2.3.4.5',
  '01.2.3.4',
  '256.1.1.1',
  '1.2.3.4 ',
  ':',
  ':::',
  '1::2::3',
  'fe80::1%eth0',
  '::1.2.3',
])('%j is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined()
})

test('a network has the addresses that Node says it has', () => {
  const v4 = fc.record({ bits: fc.nat({ max: 32 }), net: fc.ipV4(), other: fc.ipV4(), family: fc.constant('ipv4') })
  const v6 = fc.record({ bits: fc.nat({ max: 128 }), net: fc.ipV6(), other: fc.ipV6(), family: fc.constant('ipv6') })
  fc.assert(
    fc.property(fc.oneof(v4, v6), ({ bits, net, other, family }) => {
      const full = parseAddress(net)!
      const mask = prefixMask(full.length, bits)!
      const network = { address: full.map((byte, i) => byte & mask[i]!), mask }
      const list = new BlockList()
      list.addSubnet(net, bits, family === 'ipv4' ? 'ipv4' : 'ipv6')
      for (const address of [net, other]) {
        const inside = list.check(address, family === 'ipv4' ? 'ipv4' : 'ipv6')
        expect(contains(network, parseAddress(address)!)).toBe(inside)
      }
      expect(hasHostBits(network)).toBe(false)
      expect(hasHostBits({ address: full, mask })).toBe(full.join() !== network.address.join())
    }),
  )
})

test('there are no more bits than an address has', () => {
  expect(prefixMask(4, 33)).toBeUndefined()
  expect(prefixMask(16, 129)).toBeUndefined()
  expect(prefixMask(4, 9)).toEqual([255, 128, 0, 0])
})

test('a mapped IPv4 address or network becomes an IPv4 one, others stay', () => {
  expect(unmapAddress(parseAddress('::ffff:9.8.7.6')!)).toEqual([9, 8, 7, 6])
  expect(unmapAddress(parseAddress('::9.8.7.6')!)).toHaveLength(16)
  const address = parseAddress('::ffff:10.0.0.0')!
  expect(unmapNetwork({ address, mask: prefixMask(16, 104)! })).toEqual({
    address: [10, 0, 0, 0],
    mask: [255, 0, 0, 0],
  })
  expect(unmapNetwork({ address, mask: prefixMask(16, 95)! }).address).toHaveLength(16)
})
