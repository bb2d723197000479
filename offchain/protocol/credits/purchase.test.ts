/** Purchases: what they ask for follows from the seed, and what they accept is the keyset's. @module */
import { privateKeyToAccount } from 'viem/accounts'
import { verifyTypedData } from 'viem/utils'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeUint, type Hex, toHex } from '../bytes.ts'
import { keccak256 } from '../hash.ts'
import { totalUnits } from './amounts.ts'
import { publicKeyOf, signBlinded, verifySignature } from './blindSignature.ts'
import { EXIT_SECONDS_MIN, hashKeyset, type Keyset } from './keyset.ts'
import { creditMessage } from './message.ts'
import { decodeG1, encodeEip2537G1, encodeG1 } from './points.ts'
import {
  createPurchase,
  DEPOSIT_SIZES,
  hashIssueRequest,
  hashOutputs,
  splitDeposit,
  unblindPurchase,
} from './purchase.ts'

const SEED = new Uint8Array(32).fill(5)
const secretKeys = Array.from({ length: 24 }, (_, i) => BigInt(i + 2))
const keyset: Keyset = {
  chainId: 31_337,
  vault: `0x${'aa'.repeat(20)}`,
  keys: secretKeys.map(publicKeyOf),
  signUntil: 1,
  spendUntil: 2,
  exitUntil: 2 + EXIT_SECONDS_MIN,
}
const purchase = createPurchase(SEED, keyset, 3, DEPOSIT_SIZES[0] ?? 0n)
const signatures = purchase.outputs.map(({ exponent, blinded }) =>
  encodeG1(signBlinded(blinded, secretKeys[exponent] ?? 0n)),
)
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))

describe('the split of a deposit', () => {
  it.each(DEPOSIT_SIZES)('of %d units is worth exactly that, ascending, in at most 64 credits', (units) => {
    const exponents = splitDeposit(units)
    expect(totalUnits(exponents)).toBe(units)
    expect(exponents.length).toBeLessThanOrEqual(64)
    expect(exponents).toEqual(exponents.toSorted((a, b) => a - b))
  })

  it('of any other amount is refused', () => {
    for (const units of [0n, 1n, 999_999n, 5_000_000n]) {
      expect(() => splitDeposit(units)).toThrow(expect.objectContaining({ code: 'BAD_AMOUNT' }))
    }
  })
})

describe('a purchase', () => {
  it('is the same whenever it is made again from the seed, and another for each number, keyset and seed', () => {
    const same = createPurchase(SEED, keyset, 3, 1_000_000n)
    expect(same.claimKey).toBe(purchase.claimKey)
    expect(same.outputs.map(({ blinded }) => toHex(encodeG1(blinded)))).toEqual(
      purchase.outputs.map(({ blinded }) => toHex(encodeG1(blinded))),
    )
    const others = [
      createPurchase(SEED, keyset, 4, 1_000_000n),
      createPurchase(SEED, { ...keyset, chainId: 1 }, 3, 1_000_000n),
      createPurchase(new Uint8Array(32), keyset, 3, 1_000_000n),
    ]
    for (const other of others) {
      expect(other.claimKey).not.toBe(purchase.claimKey)
      expect(toHex(other.outputs[0]?.secrets.secret ?? new Uint8Array())).not.toBe(
        toHex(purchase.outputs[0]?.secrets.secret ?? new Uint8Array()),
      )
    }
  })

  it('takes its counters from a range of its own', () => {
    expect(purchase.outputs.map(({ counter }) => counter)).toEqual(purchase.outputs.map((_, i) => 3 * 64 + i))
  })

  it('becomes credits that verify under the keys of their denominations', () => {
    const credits = unblindPurchase(purchase, keyset, signatures, random)
    const domain = { chainId: keyset.chainId, vault: keyset.vault, keyset: hashKeyset(keyset) }
    for (const i of [0, credits.length - 1]) {
      const output = purchase.outputs[i]
      const publicKey = keyset.keys[output?.exponent ?? -1]
      if (output === undefined || publicKey === undefined) throw new Error('expected an output with a key')
      const message = creditMessage(domain, output.secrets.exitKey, output.secrets.secret)
      expect(verifySignature(message, decodeG1(credits[i] ?? new Uint8Array()), publicKey)).toBe(true)
    }
  })

  it('refuses a signature too few, one of another key, and one that was exchanged with another', () => {
    const refused = (given: readonly Uint8Array[]) => () => unblindPurchase(purchase, keyset, given, random)
    expect(refused(signatures.slice(1))).toThrow(expect.objectContaining({ code: 'WRONG_LENGTH' }))
    const [first, second, ...rest] = purchase.outputs
    if (first === undefined || second === undefined) throw new Error('expected two outputs')
    const wrong = encodeG1(signBlinded(first.blinded, 99n))
    expect(refused([wrong, ...signatures.slice(1)])).toThrow(expect.objectContaining({ code: 'BAD_SIGNATURE' }))
    expect(rest.length).toBeGreaterThan(0)
    const [a, b, ...others] = signatures
    if (a === undefined || b === undefined) throw new Error('expected two signatures')
    expect(refused([b, a, ...others])).toThrow(expect.objectContaining({ code: 'BAD_SIGNATURE' }))
  })
})

it('the issue request is the typed data that a wallet signs, over exponents and points', async () => {
  const { claimPrivateKey, claimKey, outputs } = purchase
  const id = hashKeyset(keyset)
  const digest = hashIssueRequest({ keyset: id, claimKey, outputsHash: hashOutputs(outputs) }, keyset)
  const account = privateKeyToAccount(toHex(claimPrivateKey))
  expect(account.address.toLowerCase()).toBe(claimKey.toLowerCase())
  const packed = [
    ...outputs.map(({ exponent }) => encodeUint(BigInt(exponent), 1)),
    ...outputs.map(({ blinded }) => encodeEip2537G1(blinded)),
  ]
  const outputsHash: Hex = toHex(keccak256(concatBytes(...packed)))
  const isSigned = await verifyTypedData({
    address: account.address,
    domain: { name: 'Sealpath CreditVault', version: '1', chainId: 31_337, verifyingContract: keyset.vault },
    types: {
      IssueRequest: [
        { name: 'keyset', type: 'bytes32' },
        { name: 'claimKey', type: 'address' },
        { name: 'outputsHash', type: 'bytes32' },
      ],
    },
    primaryType: 'IssueRequest',
    message: { keyset: id, claimKey: account.address, outputsHash },
    signature: await account.sign({ hash: digest }),
  })
  expect(isSigned).toBe(true)
})
