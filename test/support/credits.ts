/** Credits on a local chain: a keyset opened by the timelock, deposits, and exits as a wallet makes them. @module */
import { type Address, hashTypedData } from 'viem'
import { creditVaultAbi, receiptSettlementAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { advanceKeyset } from '#chain/timelock.ts'
import { concatBytes, encodeUint, type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { publicKeyOf, signBlinded } from '#protocol/credits/blindSignature.ts'
import { type CreditSecrets, deriveCredit } from '#protocol/credits/derivation.ts'
import { hashKeyset, type Keyset } from '#protocol/credits/keyset.ts'
import { creditMessage, hashToG1 } from '#protocol/credits/message.ts'
import { encodeEip2537G1, encodeEip2537G2, GROUP_ORDER } from '#protocol/credits/points.ts'
import { reduceWide } from '#protocol/credits/scalar.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { signClearing } from '#protocol/receipt/clearing.ts'
import { signDigest } from '#protocol/receipt/head.ts'
import { type LocalChain, registerTestEnclave } from './chain.ts'

const DENOMINATIONS = Array.from({ length: 24 }, (_, exponent) => exponent)
const DAY = 86_400
/** Base units of the token in 1 OPG. */
const OPG = 10n ** 18n
/** Sizes of deposits by their number in the contract, in OPG. */
const SIZES = [1n, 10n, 100n]

export type TestKeyset = { readonly id: Hex; readonly keyset: Keyset; readonly secretKeys: readonly bigint[] }

/** Opens a keyset written by `writer`, with keys made from `label`. Its first phase lasts 30 days, its second 30 more. */
export async function openTestKeyset(chain: LocalChain, writer: Hex, label = 'keyset'): Promise<TestKeyset> {
  const made = await makeTestKeyset(chain, label)
  const { signUntil, spendUntil, exitUntil } = made.keyset
  const access = { client: chain.client, wallet: chain.wallet('deployer'), ...chain.addresses }
  const keys = joinBytes(made.keyset.keys.map(encodeEip2537G2))
  await advanceKeyset(access, { id: made.id, keys, times: { signUntil, spendUntil, exitUntil }, writer })
  return made
}

/** The same keyset, which nobody knows yet. */
export async function makeTestKeyset(chain: LocalChain, label = 'keyset'): Promise<TestKeyset> {
  const { timestamp } = await chain.client.getBlock()
  const secretKeys = DENOMINATIONS.map((exponent) => {
    const half = (part: number) => keccak256(new TextEncoder().encode(`${label} ${exponent} ${part}`))
    return reduceWide(concatBytes(half(0), half(1)), GROUP_ORDER)
  })
  const signUntil = Number(timestamp) + 30 * DAY
  const keyset: Keyset = {
    chainId: chain.addresses.chainId,
    vault: chain.addresses.vault,
    keys: secretKeys.map(publicKeyOf),
    signUntil,
    spendUntil: signUntil + 30 * DAY,
    exitUntil: signUntil + 400 * DAY,
  }
  return { id: hashKeyset(keyset), keyset, secretKeys }
}

/** Deposits a size (0, 1 or 2: 1, 10 or 100 OPG) from the deployer for a claim key. */
export async function depositCredits(
  chain: LocalChain,
  keyset: Hex,
  size: 0 | 1 | 2,
  claimKey: Address,
): Promise<void> {
  const wallet = chain.wallet('deployer')
  const amount = (SIZES[size] ?? 0n) * OPG
  const token = { address: chain.addresses.token, abi: testOPGAbi } as const
  const { vault } = chain.addresses
  await mined(
    chain,
    await wallet.writeContract({ ...token, functionName: 'mint', args: [wallet.account.address, amount] }),
  )
  await mined(chain, await wallet.writeContract({ ...token, functionName: 'approve', args: [vault, amount] }))
  const args = [keyset, size, claimKey] as const
  await mined(chain, await wallet.writeContract({ address: vault, abi: creditVaultAbi, functionName: 'deposit', args }))
}

/** Has an issuer of its own clear `units` for a gateway, with a deposit of 1 OPG behind them. `label` names issuer and keyset. */
export async function clearForGateway(chain: LocalChain, enclave: Hex, units: bigint, label: string): Promise<void> {
  const privateKey = keccak256(new TextEncoder().encode(`issuer ${label}`))
  const issuer = await registerTestEnclave(chain, privateKey, { role: ENCLAVE_ROLE.issuer })
  const { id } = await openTestKeyset(chain, issuer.enclave, label)
  await depositCredits(chain, id, 0, issuer.operator)
  const stated = { keyset: id, issued: units, captured: units, enclaves: [{ enclave, captured: units }] }
  const clearing = signClearing(stated, chain.addresses, privateKey)
  const settlement = { address: chain.addresses.settlement, abi: receiptSettlementAbi } as const
  const wallet = chain.wallet('deployer')
  await mined(chain, await wallet.writeContract({ ...settlement, functionName: 'settle', args: [[], [clearing]] }))
}

/** What `openExits` takes, and what came of it. `exponents` ascend. */
export type TestExits = {
  readonly args: readonly [Hex, Hex, Hex, Hex, readonly CreditExit[], Hex]
  readonly credits: readonly Hex[]
  readonly secrets: readonly CreditSecrets[]
}

type CreditExit = { exitKey: Hex; hashT: Hex; r: Hex; vs: Hex }

/** Exits of credits that a wallet derived from `seed`, counted from `firstCounter`, and that the issuer signed. */
export function prepareExits(
  { id, keyset, secretKeys }: TestKeyset,
  seed: Uint8Array,
  firstCounter: number,
  exponents: readonly number[],
  recipient: Hex,
): TestExits {
  const { chainId, vault } = keyset
  const prepared = exponents.map((exponent, i) => {
    const secrets = deriveCredit(seed, 'purchase', id, firstCounter + i)
    const message = creditMessage({ chainId, vault, keyset: id }, secrets.exitKey, secrets.secret)
    const credit = toHex(message)
    const digest = hashExit(keyset, credit, recipient)
    const signature = signBlinded(hashToG1(message), secretKeys[exponent] ?? 0n)
    const exit: CreditExit = {
      exitKey: secrets.exitKey,
      hashT: toHex(keccak256(secrets.secret)),
      ...signDigest(digest, secrets.exitPrivateKey),
    }
    return { credit, secrets, exit, signature: encodeEip2537G1(signature) }
  })
  const used = [...new Set(exponents)].flatMap((exponent) => keyset.keys[exponent] ?? [])
  return {
    args: [
      id,
      recipient,
      toHex(joinBytes(used.map(encodeEip2537G2))),
      toHex(Uint8Array.from(exponents)),
      prepared.map(({ exit }) => exit),
      toHex(joinBytes(prepared.map(({ signature }) => signature))),
    ],
    credits: prepared.map(({ credit }) => credit),
    secrets: prepared.map(({ secrets }) => secrets),
  }
}

/** What an exit key signs: EIP-712, `Exit(bytes32 credit,address recipient)` of the vault. */
function hashExit({ chainId, vault }: Keyset, credit: Hex, recipient: Hex): Hex {
  return hashTypedData({
    domain: { name: 'Sealpath CreditVault', version: '1', chainId, verifyingContract: vault },
    types: {
      Exit: [
        { name: 'credit', type: 'bytes32' },
        { name: 'recipient', type: 'address' },
      ],
    },
    primaryType: 'Exit',
    message: { credit, recipient },
  })
}

/** A seed of 32 bytes. */
export function testSeed(number: number): Uint8Array {
  return keccak256(encodeUint(BigInt(number), 32))
}

/** Waits for a transaction and answers the gas it used. Throws when it reverted. */
export async function mined(chain: LocalChain, hash: Hex): Promise<bigint> {
  const { status, gasUsed } = await chain.client.waitForTransactionReceipt({ hash })
  if (status !== 'success') throw new Error(`the transaction ${hash} reverted`)
  return gasUsed
}
