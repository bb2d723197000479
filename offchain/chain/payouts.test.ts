/** What can be brought home, from what the chain says. Sending it is in test/e2e/operators.test.ts. @module */
import { decodeFunctionData, type PublicClient } from 'viem'
import { describe, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { type EnclaveEarnings, idleUnits, type OperatorEarnings } from './earnings.ts'
import { enclaveRegistryAbi, receiptSettlementAbi } from './generated/abis.ts'
import { payOut, planPayouts } from './payouts.ts'
import type { ChainSigner } from './vaultSigner.ts'

const CONTRACTS = { registry: `0x${'a1'.repeat(20)}`, settlement: `0x${'5e'.repeat(20)}` } as const
const NOW = 1_000_000
const ENCLAVE: Hex = `0x${'e1'.repeat(20)}`
const NOTHING = { drawn: 0n, thawing: 0n, readyAt: 0 }

function enclave(change: Partial<Omit<EnclaveEarnings, 'idle'>> = {}): EnclaveEarnings {
  const entry = {
    enclave: ENCLAVE,
    role: 'gateway',
    state: 'active',
    endsAt: NOW + 100,
    bondFreeAt: undefined,
    earned: 100n,
    cleared: 100n,
    credited: 100n,
    share: 94n,
    payout: NOTHING,
    ...change,
  } as const
  return { ...entry, idle: idleUnits(entry) }
}

function plan(enclaves: EnclaveEarnings[], options: { unitsMin?: bigint; isSettler?: boolean } = {}) {
  const earnings: OperatorEarnings = {
    operator: `0x${'0b'.repeat(20)}`,
    now: NOW,
    bond: { deposited: 300n, locked: 100n },
    bondNeeded: { gateway: 100n, issuer: 1_000n },
    enclaves,
    settler: { earned: 7n, payout: NOTHING, idle: 7n },
  }
  const calls = planPayouts(CONTRACTS, earnings, { unitsMin: 1n, isSettler: false, ...options })
  return calls.map(({ kind, units, to, data }) => {
    const abi = to === CONTRACTS.registry ? enclaveRegistryAbi : receiptSettlementAbi
    const { functionName, args } = decodeFunctionData({ abi, data })
    return [kind, units, functionName, ...(args ?? []).map((each) => String(each).toLowerCase())]
  })
}

describe('planPayouts', () => {
  it('thaws what lies there, and draws what has thawed', () => {
    expect(plan([enclave()])).toEqual([['thaw', 94n, 'thaw', ENCLAVE]])
    const ready = { drawn: 10n, thawing: 20n, readyAt: NOW }
    expect(plan([enclave({ payout: ready })])).toEqual([['withdraw', 20n, 'withdraw', ENCLAVE]])
  })

  it('leaves alone what still thaws, what was drawn, and what is less than the least', () => {
    expect(plan([enclave({ payout: { drawn: 10n, thawing: 20n, readyAt: NOW + 1 } })])).toEqual([])
    expect(plan([enclave({ payout: { drawn: 94n, thawing: 0n, readyAt: 0 } })])).toEqual([])
    expect(plan([enclave()], { unitsMin: 95n })).toEqual([])
    expect(plan([enclave()], { unitsMin: 94n })).toHaveLength(1)
  })

  it('thaws what both sides agree on before the settlement has credited it', () => {
    expect(plan([enclave({ credited: 0n, share: 0n, cleared: 60n })])).toEqual([['thaw', 60n, 'thaw', ENCLAVE]])
  })

  it('asks nothing of a compromised enclave', () => {
    expect(plan([enclave({ state: 'compromised' })])).toEqual([])
  })

  it('releases a bond from its day on, of the size that its role locks', () => {
    const done = { share: 0n, earned: 0n, cleared: 0n, credited: 0n }
    expect(plan([enclave({ ...done, bondFreeAt: NOW + 1 })])).toEqual([])
    expect(plan([enclave({ ...done, bondFreeAt: NOW })])).toEqual([['release-bond', 100n, 'releaseBond', ENCLAVE]])
    expect(plan([enclave({ ...done, role: 'issuer', bondFreeAt: NOW })])).toEqual([
      ['release-bond', 1_000n, 'releaseBond', ENCLAVE],
    ])
  })

  it("draws a settler's fees only for the settler", () => {
    expect(plan([])).toEqual([])
    expect(plan([], { isSettler: true })).toEqual([['thaw-settler', 7n, 'thawSettler']])
  })
})

it('sends in three rounds at most, though there is always more', async () => {
  const operator: Hex = `0x${'0b'.repeat(20)}`
  const says: Record<string, unknown> = {
    bondOf: { deposited: 0n, locked: 0n },
    GATEWAY_BOND: 100n,
    ISSUER_BOND: 1_000n,
    BOND_PERIOD: 1,
    settlerEarned: 7n,
    settlerPayoutOf: NOTHING,
  }
  const client = {
    getBlock: async () => ({ number: 1n, timestamp: BigInt(NOW) }),
    getBlockNumber: async () => 1n,
    getLogs: async () => [],
    readContract: async ({ functionName }: { functionName: string }) => says[functionName],
    call: async () => ({}),
    waitForTransactionReceipt: async () => ({ status: 'success' }),
  } as unknown as PublicClient
  const signer: ChainSigner = {
    address: operator,
    signTypedData: async () => '0x',
    sendTransaction: async () => '0x01',
  }
  const done: string[] = []
  for await (const { kind } of payOut({ ...CONTRACTS, client, fromBlock: 0n }, { operator, signer, unitsMin: 1n })) {
    done.push(kind)
  }
  expect(done).toEqual(['thaw-settler', 'thaw-settler', 'thaw-settler'])
})
