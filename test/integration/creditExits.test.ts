/** Exits as a wallet makes them, on a chain that knows the issuer's public keys and nothing else. Gas is that of whole transactions. @module */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { creditVaultAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../support/chain.ts'
import {
  depositCredits,
  mined,
  openTestKeyset,
  prepareExits,
  type TestExits,
  type TestKeyset,
  testSeed,
} from '../support/credits.ts'

/** Gas in all for one credit, and for each of 64 in one call. */
const ONE_GAS_MAX = 200_000n
const EACH_GAS_MAX = 65_000n
const CREDITS_MAX = 64
const EXIT_CANCELLED = 2
const WINDOW_SECONDS = 86_400
const UNIT_AMOUNT = 10n ** 12n
const RECIPIENT: Hex = '0x00000000000000000000000000000000deadbeef'

let chain: LocalChain
let keyset: TestKeyset

beforeAll(async () => {
  chain = await deployLocal()
  const issuer = await registerTestEnclave(chain, testSeed(1), { role: ENCLAVE_ROLE.issuer })
  keyset = await openTestKeyset(chain, issuer.enclave)
  for (let i = 0; i < 6; i++) await depositCredits(chain, keyset.id, 2, addressOf(100 + i))
})
afterAll(() => chain.close())

it('opens the exit of one credit within 200,000 gas', async () => {
  // The first exit of a keyset writes its day as any other does: the word is never zero.
  const gas = await open(prepareExits(keyset, testSeed(2), 0, [20], RECIPIENT))
  expect(gas).toBeLessThanOrEqual(ONE_GAS_MAX)
})

it('opens the exits of 64 credits of one denomination within 65,000 gas each', async () => {
  const exponents = Array.from({ length: CREDITS_MAX }, () => 3)
  const gas = await open(prepareExits(keyset, testSeed(3), 0, exponents, RECIPIENT))
  expect(gas / BigInt(CREDITS_MAX)).toBeLessThanOrEqual(EACH_GAS_MAX)
})

it('pays after the window what was not challenged, and a spent credit is none', async () => {
  const recipient: Hex = '0x00000000000000000000000000000000cafe0001'
  const exits = prepareExits(keyset, testSeed(4), 0, [0, 7, 7, 23], recipient)
  await open(exits)
  const spent = exits.secrets[1]
  const credit = exits.credits[1]
  if (spent === undefined || credit === undefined) throw new Error('expected four credits')
  await write('challengeExit', [keyset.id, spent.exitKey, toHex(spent.secret)])
  const exit = await chain.client.readContract({ ...vault(), functionName: 'exitOf', args: [credit] })
  expect(exit.state).toBe(EXIT_CANCELLED)
  await chain.control.increaseTime({ seconds: WINDOW_SECONDS })
  await write('finishExits', [exits.credits.filter((_, i) => i !== 1)])
  const balance = await chain.client.readContract({
    address: chain.addresses.token,
    abi: testOPGAbi,
    functionName: 'balanceOf',
    args: [recipient],
  })
  expect(balance).toBe((1n + (1n << 7n) + (1n << 23n)) * UNIT_AMOUNT)
})

async function open({ args }: TestExits): Promise<bigint> {
  const hash = await chain.wallet('stranger').writeContract({ ...vault(), functionName: 'openExits', args })
  return mined(chain, hash)
}

async function write(
  ...[functionName, args]: ['challengeExit', readonly [Hex, Hex, Hex]] | ['finishExits', readonly [readonly Hex[]]]
): Promise<void> {
  const wallet = chain.wallet('stranger')
  const hash =
    functionName === 'challengeExit'
      ? await wallet.writeContract({ ...vault(), functionName, args })
      : await wallet.writeContract({ ...vault(), functionName, args })
  await mined(chain, hash)
}

function vault(): { readonly address: Hex; readonly abi: typeof creditVaultAbi } {
  return { address: chain.addresses.vault, abi: creditVaultAbi }
}

function addressOf(number: number): Hex {
  return `0x${number.toString(16).padStart(40, '0')}`
}
