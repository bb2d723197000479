/** Gas of leaving with credits: whole transactions on Hardhat's EVM under Osaka rules, calldata included. @module */
import { creditVaultAbi } from '#chain/generated/abis.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { deployLocal, type LocalChain, registerTestEnclave } from '../../test/support/chain.ts'
import { mined, openTestKeyset, prepareExits, type TestKeyset, testSeed } from '../../test/support/credits.ts'
import type { Row } from './row.ts'

const CREDITS = 64
const RECIPIENT = '0x00000000000000000000000000000000deadbeef'

/** The rows of exits. A keyset of one denomination is the best case: each further one costs a pairing and a smaller discount. */
export async function measureExits(): Promise<Row[]> {
  const chain = await deployLocal()
  try {
    const issuer = await registerTestEnclave(chain, testSeed(1), { role: ENCLAVE_ROLE.issuer })
    const keyset = await openTestKeyset(chain, issuer.enclave)
    // The first exit of a keyset opens its day's count.
    await open(chain, keyset, 1, [0])
    const one = await open(chain, keyset, 2, [20])
    const same = await open(chain, keyset, 3, spread(1))
    const mixed = await open(chain, keyset, 4, spread(8))
    return [
      row('gas.exit.open', 'open the exit of one credit', one, 200_000),
      row('gas.exit.64', 'open the exits of 64 credits of one denomination, each', same / CREDITS, 65_000),
      row('gas.exit.64.mixed', 'open the exits of 64 credits of eight denominations, each', mixed / CREDITS),
    ]
  } finally {
    await chain.close()
  }
}

function row(id: string, name: string, value: number, most?: number): Row {
  const base = { id, name, value: Math.round(value), unit: 'gas' }
  return most === undefined ? base : { ...base, target: { value: most, direction: 'at most' } }
}

/** Exponents of 64 credits in so many denominations. */
function spread(denominations: number): number[] {
  return Array.from({ length: CREDITS }, (_, i) => Math.floor((i * denominations) / CREDITS))
}

async function open(chain: LocalChain, keyset: TestKeyset, seed: number, exponents: number[]): Promise<number> {
  const { args } = prepareExits(keyset, testSeed(seed), 0, exponents, RECIPIENT)
  const wallet = chain.wallet('stranger')
  const contract = { address: chain.addresses.vault, abi: creditVaultAbi } as const
  return Number(await mined(chain, await wallet.writeContract({ ...contract, functionName: 'openExits', args })))
}
