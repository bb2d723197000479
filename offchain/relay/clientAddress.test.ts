import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { addressPrefix, clientAddress } from './clientAddress.ts'

type Request = Pick<IncomingMessage, 'headers' | 'socket'>

function requestFrom(remoteAddress: string | undefined, headers: IncomingMessage['headers'] = {}): Request {
  return { headers, socket: { remoteAddress } as IncomingMessage['socket'] }
}

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
  ['2001:DB8:1:2:ffff::', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['::', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['1::2:3:4:192.0.2.7', '1:0:0:2::/64'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['::ffff:c000:207', '192.0.2.7'],
  ['0:0:0:0:0:ffff:192.0.2.7', '192.0.2.7'],
])('counts %s as %s', (address, prefix) => {
  expect(addressPrefix(address)).toBe(prefix)
})

test.each(['', 'unknown', '192.0.2.7:80', '[2001:db8::1]', '192.0.2', '2001:db8:::1', 'localhost'])(
  'takes %j for no address',
  (text) => {
    expect(addressPrefix(text)).toBeUndefined()
  },
)

test("is the connection's own address unless a header is configured", () => {
  const request = requestFrom('192.0.2.7', { 'x-forwarded-for': '198.51.100.1', forwarded: 'for=198.51.100.1' })
  expect(clientAddress(request)).toBe('192.0.2.7')
})

test('is the last address in the configured header, which the terminator itself put there', () => {
  const header = 'x-forwarded-for'
  const from = (value: string | undefined) => clientAddress(requestFrom('192.0.2.7', { [header]: value }), header)
  expect(from('198.51.100.1')).toBe('198.51.100.1')
  expect(from('203.0.113.9, 10.0.0.1 , 2001:db8:1:2::6')).toBe('2001:db8:1:2::/64')
  // What is no address counts for the terminator: nobody gets counts of their own by writing nonsense.
  for (const value of [undefined, '', 'unknown', '198.51.100.1, _hidden']) expect(from(value)).toBe('192.0.2.7')
})

test('counts connections without an address together', () => {
  expect(clientAddress(requestFrom(undefined))).toBe('')
})
