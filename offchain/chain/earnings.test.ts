/** What lies there for an operator. Reading it from a real chain is in test/e2e/operators.test.ts. @module */
import type { PublicClient } from 'viem'
import { expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { idleUnits, readEarnings } from './earnings.ts'

const ACCOUNT = {
  earned: 100n,
  cleared: 100n,
  credited: 100n,
  share: 94n,
  payout: { drawn: 4n, thawing: 30n, readyAt: 0 },
}

it('counts what neither was drawn nor thaws', () => {
  expect(idleUnits(ACCOUNT)).toBe(60n)
})

it('counts the whole of what both sides agree on and the settlement has not credited yet', () => {
  const payout = { drawn: 0n, thawing: 0n, readyAt: 0 }
  expect(idleUnits({ earned: 50n, cleared: 130n, credited: 40n, share: 38n, payout })).toBe(48n)
})

const OPERATOR: Hex = `0x${'0f'.repeat(20)}`
const SETTLER_PAYOUT = { drawn: 5n, thawing: 2n, readyAt: 0 }
const idOf = (i: number): Hex => `0x${(i + 1).toString(16).padStart(40, '0')}`

/** A chain with so many enclaves of one operator: every third is an issuer, every second holds a bond. Asked for anything else it throws. */
function chainOf(count: number): PublicClient {
  const answers: Readonly<Record<string, (i: number) => unknown>> = {
    bondOf: () => ({ deposited: 7_000n, locked: 3_000n }),
    GATEWAY_BOND: () => 100n,
    ISSUER_BOND: () => 1_000n,
    BOND_PERIOD: () => 1_209_600,
    settlerEarned: () => 9n,
    settlerPayoutOf: () => SETTLER_PAYOUT,
    enclaveOf: (i) => ({
      role: i % 3 === 0 ? ENCLAVE_ROLE.issuer : ENCLAVE_ROLE.gateway,
      endsAt: 1_000 + i,
      isBonded: i % 2 === 0,
    }),
    stateOf: () => 1,
    accountOf: (i) => ({ earned: BigInt(i), cleared: BigInt(i), credited: BigInt(i) }),
    operatorShareOf: (i) => BigInt(i),
    operatorPayoutOf: () => ({ drawn: 0n, thawing: 0n, readyAt: 0 }),
  }
  const client = {
    getBlock: async () => ({ number: 50n, timestamp: 1_800_000_000n }),
    getBlockNumber: async () => 60n,
    // What came after the block that is read is not counted.
    getLogs: async () =>
      Array.from({ length: count + 1 }, (_, i) => ({
        blockNumber: i < count ? BigInt(i) : 51n,
        logIndex: 0,
        args: { enclave: idOf(i) },
      })),
    readContract: async ({
      functionName,
      args,
      blockNumber,
    }: {
      functionName: string
      args?: readonly Hex[]
      blockNumber: bigint
    }) => {
      expect(blockNumber).toBe(50n)
      const answer = answers[functionName]
      if (answer === undefined) throw new Error(`expected a reading that there is, got ${functionName}`)
      return answer(Number(BigInt(args?.[0] ?? 0)) - 1)
    },
  }
  return client as unknown as PublicClient
}

it.each([0, 1, 16, 17, 40])('reads an operator with %i enclaves at one block, oldest first', async (count) => {
  const access = { client: chainOf(count), registry: idOf(500), settlement: idOf(501), fromBlock: 0n }
  const earnings = await readEarnings(access, OPERATOR)
  expect(earnings).toMatchObject({
    operator: OPERATOR,
    now: 1_800_000_000,
    bond: { deposited: 7_000n, locked: 3_000n },
    bondNeeded: { gateway: 100n, issuer: 1_000n },
    settler: { earned: 9n, payout: SETTLER_PAYOUT, idle: 2n },
  })
  expect(
    earnings.enclaves.map(({ enclave, role, endsAt, bondFreeAt, share }) => [enclave, role, endsAt, bondFreeAt, share]),
  ).toEqual(
    Array.from({ length: count }, (_, i) => [
      idOf(i),
      i % 3 === 0 ? 'issuer' : 'gateway',
      1_000 + i,
      i % 2 === 0 ? 1_210_600 + i : undefined,
      BigInt(i),
    ]),
  )
})
