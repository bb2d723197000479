/**
 * An auditor that shares no code with wallets and issuers: from what everybody can read (deposits, keys and clearings on chain, an issuer's spent credits
 * and change), from what clients say they paid and hold, and from their receipts, it works out where every unit is.
 * @module
 */
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { encodeAbiParameters, getAbiItem, hexToBytes, keccak256, type PublicClient, stringToHex } from 'viem'
import type { Deployment } from '#chain/deployment.ts'
import { creditVaultAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { ChangeTile } from '#protocol/wire/issuerApi.ts'
import type { HeldCredit, MadePayment } from './creditClientApi.ts'

/** What an issuer publishes: the first bytes of the ids of spent credits, in hex without 0x, and all payments. */
export type IssuerRecords = { readonly spent: readonly string[]; readonly payments: ChangeTile['payments'] }

/** What clients say. */
export type ClientClaims = {
  readonly payments: readonly MadePayment[]
  readonly receipts: ReadonlyMap<Hex, bigint>
  readonly held: readonly HeldCredit[]
  /** Payments that the wallet waits for. */
  readonly open: readonly Hex[]
}

export type ChainRecords = {
  readonly chainId: number
  readonly vault: Hex
  readonly keyset: Hex
  /** 24 keys of 256 bytes, one after the other. */
  readonly keys: Uint8Array
  readonly deposited: bigint
}

/** Units, each in one place. `faults` is what cannot be. */
export type Audit = {
  readonly faults: readonly string[]
  readonly deposited: bigint
  readonly held: bigint
  readonly captured: bigint
  /** By the gateways' enclaves. */
  readonly capturedBy: ReadonlyMap<Hex, bigint>
  /** In payments that no issuer has seen. */
  readonly unseen: bigint
  /** In payments that are reserved and not captured. */
  readonly reserved: bigint
  /** Change that was signed and that the wallet still waits for. */
  readonly untaken: bigint
  /** What was deposited and is in none of these places. */
  readonly missing: bigint
  /** Fees of the payments that were captured. */
  readonly fees: ReadonlyMap<Hex, bigint>
}

type Row = ChangeTile['payments'][number]

/** `feesWithoutReceipt`: what an answer may have cost whose receipt was lost on its way. */
export function audit(
  chain: ChainRecords,
  issuer: IssuerRecords,
  client: ClientClaims,
  feesWithoutReceipt: readonly bigint[],
): Audit {
  const faults: string[] = []
  const expect = (fact: boolean, fault: string) => {
    if (!fact) faults.push(fault)
  }
  const isFee = ({ id }: MadePayment, fee: bigint): boolean => {
    const receipt = client.receipts.get(id)
    return fee === 0n || (receipt === undefined ? feesWithoutReceipt.includes(fee) : fee === receipt)
  }
  const rowOf = matchRows(issuer.payments, client.payments, isFee)
  expect(rowOf.size === issuer.payments.length, 'the issuer lists payments that nobody made')

  const spentIn = new Map<string, Hex>()
  const fees = new Map<Hex, bigint>()
  const capturedBy = new Map<Hex, bigint>()
  let [captured, unseen, reserved, untaken] = [0n, 0n, 0n, 0n]
  for (const payment of client.payments) {
    const row = rowOf.get(payment.id)
    const paid = worth(payment.credits)
    if (row === undefined) {
      if (client.open.includes(payment.id)) unseen += paid
      continue
    }
    for (const { id } of payment.credits) {
      const name = id.slice(2, 18)
      const other = spentIn.get(name)
      expect(other === undefined, `credit ${id} stands in the payments ${other} and ${payment.id}`)
      spentIn.set(name, payment.id)
    }
    if (row.change === undefined) {
      reserved += paid
      continue
    }
    const fee = paid - worth(row.change)
    expect(isFee(payment, fee), `payment ${payment.id} was captured for ${fee}, not for what its receipt says`)
    fees.set(payment.id, fee)
    captured += fee
    capturedBy.set(payment.gateway, (capturedBy.get(payment.gateway) ?? 0n) + fee)
    if (client.open.includes(payment.id)) untaken += worth(row.change)
  }
  const spent = new Set(issuer.spent)
  expect(spent.size === issuer.spent.length, 'a credit was spent twice')
  const isSame = spent.size === spentIn.size && [...spent].every((name) => spentIn.has(name))
  expect(isSame, 'what is spent is not what was paid with')

  const ids = client.held.map((credit) => idOf(chain, credit))
  expect(new Set(ids).size === ids.length, 'the wallet holds a credit twice')
  for (const id of ids) expect(!spent.has(id.slice(2, 18)), `the wallet holds ${id}, which was spent`)
  expect(isSigned(chain, client.held, ids), 'the wallet holds a credit that the keyset did not sign')
  const held = worth(client.held)
  const { deposited } = chain
  const missing = deposited - held - captured - unseen - reserved - untaken
  return { faults, deposited, held, captured, capturedBy, unseen, reserved, untaken, missing, fees }
}

const DEPOSITED = getAbiItem({ abi: creditVaultAbi, name: 'Deposited' })
const KEYSET_OPENED = getAbiItem({ abi: creditVaultAbi, name: 'KeysetOpened' })

/** Deposits and keys of a keyset. */
export async function readChainRecords(
  client: PublicClient,
  { chainId, vault, fromBlock }: Deployment,
  keyset: Hex,
): Promise<ChainRecords> {
  const of = { address: vault, args: { keyset }, fromBlock, strict: true } as const
  const [deposits, opened] = await Promise.all([
    client.getLogs({ ...of, event: DEPOSITED }),
    client.getLogs({ ...of, event: KEYSET_OPENED }),
  ])
  const deposited = deposits.reduce((sum, { args }) => sum + args.amount, 0n)
  return { chainId, vault, keyset, keys: hexToBytes(opened[0]?.args.keys ?? '0x'), deposited }
}

/** What the issuer's clearings say on chain: in all, and of each gateway. */
export async function readCleared(
  client: PublicClient,
  settlement: Hex,
  keyset: Hex,
  gateways: readonly Hex[],
): Promise<{ readonly issued: bigint; readonly captured: bigint; readonly by: ReadonlyMap<Hex, bigint> }> {
  const contract = { address: settlement, abi: receiptSettlementAbi } as const
  const { issued, claimed } = await client.readContract({ ...contract, functionName: 'keysetTotals', args: [keyset] })
  const lines = await Promise.all(
    gateways.map(async (gateway): Promise<[Hex, bigint]> => {
      return [gateway, await client.readContract({ ...contract, functionName: 'clearedBy', args: [keyset, gateway] })]
    }),
  )
  return { issued, captured: claimed, by: new Map(lines) }
}

function worth(credits: readonly { readonly exponent: number }[]): bigint {
  return credits.reduce((units, { exponent }) => units + 2n ** BigInt(exponent), 0n)
}

/** Which row of the issuer's is which payment. Payments of one locator are told apart by what they may have cost. */
function matchRows(
  rows: readonly Row[],
  payments: readonly MadePayment[],
  isFee: (payment: MadePayment, fee: bigint) => boolean,
): Map<Hex, Row> {
  const found = new Map<Hex, Row>()
  for (const row of rows) {
    const candidates = payments.filter(({ id, locator }) => locator === row.locator && !found.has(id))
    const { change } = row
    const fits = (payment: MadePayment) =>
      change === undefined || isFee(payment, worth(payment.credits) - worth(change))
    const match = candidates.find(fits) ?? candidates[0]
    if (match !== undefined) found.set(match.id, row)
  }
  return found
}

/** keccak256(abi.encode(keccak256("Sealpath credit v1"), chainId, vault, keyset, exitKey, keccak256(t))): docs/spec.md section 9. */
function idOf({ chainId, vault, keyset }: ChainRecords, { exitKey, secret }: HeldCredit): Hex {
  const types = ['bytes32', 'uint256', 'address', 'bytes32', 'address', 'bytes32'].map((type) => ({ type }))
  const kind = keccak256(stringToHex('Sealpath credit v1'))
  return keccak256(encodeAbiParameters(types, [kind, BigInt(chainId), vault, keyset, exitKey, keccak256(secret)]))
}

const DST = 'SEALPATH-CREDIT-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_'

/** e(sum w S, G2) = product over keys of e(sum w H(m), K), with weights w that nobody chose: then each signature is right. */
function isSigned({ keys }: ChainRecords, held: readonly HeldCredit[], ids: readonly Hex[]): boolean {
  const { G1, G2, fields } = bls12_381
  let signatures = G1.Point.ZERO
  const messages = new Map<number, typeof signatures>()
  for (const [i, { signature, exponent }] of held.entries()) {
    const weight = BigInt(keccak256(`${signature}${ids[i]?.slice(2)}`)) >> 128n
    const message = G1.hashToCurve(hexToBytes(ids[i] ?? '0x'), { DST }).multiply(weight)
    signatures = signatures.add(G1.Point.fromHex(signature.slice(2)).multiply(weight))
    messages.set(exponent, (messages.get(exponent) ?? G1.Point.ZERO).add(message))
  }
  if (held.length === 0) return true
  const pairs = [...messages].map(([exponent, g1]) => ({ g1, g2: keyOf(keys, exponent) }))
  const product = bls12_381.pairingBatch([{ g1: signatures.negate(), g2: G2.Point.BASE }, ...pairs])
  return fields.Fp12.eql(product, fields.Fp12.ONE)
}

/** EIP-2537: x.c0, x.c1, y.c0, y.c1, 64 bytes each. */
function keyOf(keys: Uint8Array, exponent: number): ReturnType<typeof bls12_381.G2.Point.fromAffine> {
  const [x0, x1, y0, y1] = [0, 1, 2, 3].map((part) => {
    const start = exponent * 256 + part * 64
    return BigInt(`0x${Buffer.from(keys.subarray(start, start + 64)).toString('hex')}`)
  })
  const { Fp2 } = bls12_381.fields
  const point = (c0 = 0n, c1 = 0n) => Fp2.fromBigTuple([c0, c1])
  return bls12_381.G2.Point.fromAffine({ x: point(x0, x1), y: point(y0, y1) })
}
