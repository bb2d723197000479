/** Addresses as people read them. @module */
import { encodeUtf8, type Hex } from './bytes.ts'
import { keccak256 } from './hash.ts'

/** The address with the checksum of EIP-55 in the case of its letters. Throws `TypeError` for anything but 20 bytes of hex. */
export function checksumAddress(address: Hex): Hex {
  if (!/^0x[0-9a-fA-F]{40}$/.test(address)) throw new TypeError('expected an address of 20 bytes')
  const digits = address.slice(2).toLowerCase()
  const hash = keccak256(encodeUtf8(digits))
  const cased = [...digits].map((digit, i) => {
    const nibble = ((hash[i >> 1] ?? 0) >> (i % 2 === 0 ? 4 : 0)) & 15
    return nibble >= 8 ? digit.toUpperCase() : digit
  })
  return `0x${cased.join('')}`
}
