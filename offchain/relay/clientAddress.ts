/** Which client a request counts for: its address, as far as one client is given one. @module */
import type { IncomingMessage } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'

/**
 * The client's IPv4 address or /64 prefix. With `header`, the last address that a terminator put there; the connection's own where there is
 * none.
 */
export function clientAddress(incoming: Pick<IncomingMessage, 'headers' | 'socket'>, header?: string): string {
  const own = incoming.socket.remoteAddress ?? ''
  if (header === undefined) return addressPrefix(own) ?? own
  const value = incoming.headers[header]
  const stated = (Array.isArray(value) ? value.join(',') : value)?.split(',').at(-1)?.trim() ?? ''
  return addressPrefix(stated) ?? addressPrefix(own) ?? own
}

/**
 * `address` if it is an IPv4 address, its first 64 bits if it is an IPv6 one (hosts choose the rest themselves, and change it), the IPv4 address in it
 * if it is a mapped one (RFC 4291 section 2.5.5.2). Undefined for anything else.
 */
export function addressPrefix(address: string): string | undefined {
  if (isIPv4(address)) return address
  if (!isIPv6(address)) return undefined
  const groups = groupsOf(address)
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (!isMapped)
    return `${groups
      .slice(0, 4)
      .map((group) => group.toString(16))
      .join(':')}::/64`
  const [high = 0, low = 0] = groups.slice(6)
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
}

/** The eight groups of an IPv6 address that is known to be one. */
function groupsOf(address: string): number[] {
  const [bare = ''] = address.split('%')
  const [head = '', tail] = bare.split('::')
  const before = parseGroups(head)
  const after = parseGroups(tail ?? '')
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
}

function parseGroups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)]
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number)
    return [(a << 8) | b, (c << 8) | d]
  })
}
