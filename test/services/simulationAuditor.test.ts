/** Whether the auditor of the simulation sees what is wrong: faults planted into a good run, and mistakes made by the aggregator. */
import { encodeEventTopics, keccak256 } from 'viem'
import { beforeAll, describe, expect, test } from 'vitest'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import { audit, type FindingCode, type Observation, type SeenTransaction } from '../simulation/auditor.ts'
import { signTransaction } from '../simulation/chainPort.ts'
import { keyOf } from '../simulation/enclaves.ts'
import { MUTATIONS } from '../simulation/mutations.ts'
import { type Run, simulate } from '../simulation/simulate.ts'

const SEED = 2
const SEEDS_MAX = 40

let good: Run
beforeAll(async () => {
  good = await simulate(SEED, { faults: [] })
})

test('a run without faults has nothing wrong', () => {
  expect(good.findings).toEqual([])
  expect(good.bugs).toEqual([])
  const { broadcasts, acknowledged, clearings, proofs } = good.observation
  expect([broadcasts.length, acknowledged.length, clearings.length, proofs.length].every((count) => count > 2)).toBe(
    true,
  )
})

describe('a fault is found that is planted into a good run:', () => {
  const ours = (seen: Observation) =>
    seen.blocks.flatMap(({ transactions }) => transactions).filter(({ from }) => seen.accounts.includes(from))

  /** Its transactions as `change` makes them. */
  const changed = (seen: Observation, change: (transaction: SeenTransaction) => SeenTransaction): Observation => ({
    ...seen,
    blocks: seen.blocks.map((block) => ({ ...block, transactions: block.transactions.map(change) })),
  })

  const topicOf = (eventName: 'HeadSettled' | 'BatchSettled' | 'EquivocationProven') =>
    encodeEventTopics({ abi: receiptSettlementAbi, eventName })[0]

  /** One of the run's accounts signs what is like its `n`th transaction but for some fields. */
  const resent = (
    seen: Observation,
    n: number,
    change: { fees?: (fee: bigint) => bigint; data?: Hex; key?: Uint8Array },
  ) => {
    const { nonce, input, from } = ours(seen)[n] ?? { nonce: 0, input: '0x' as const, from: '0x' as const }
    const index = seen.accounts.indexOf(from)
    const first = seen.suggestions[0]?.maxFeePerGas ?? 1n
    const fee = change.fees?.(10n * first) ?? 10n * first
    const call = { to: seen.settlement, data: change.data ?? input, nonce, gas: 1_000_000n, chainId: 31_337 }
    return signTransaction(
      { ...call, maxFeePerGas: fee, maxPriorityFeePerGas: fee },
      change.key ?? keyOf(SEED, `account ${index}`),
    )
  }
  /** Before anything else is sent, so that no block has used the nonce. */
  const sentFirst = (seen: Observation, ...raws: Hex[]): Observation => ({
    ...seen,
    broadcasts: [...raws.map((raw) => ({ at: 0, raw })), ...seen.broadcasts],
    suggestions: [{ at: 0, maxFeePerGas: 10n ** 15n }, ...seen.suggestions],
  })

  const PLANTED: readonly (readonly [FindingCode, string, (seen: Observation) => Observation])[] = [
    ['HEAD_LOST', 'a settlement is missing', (seen) => changed(seen, (transaction) => ({ ...transaction, logs: [] }))],
    [
      'HEAD_LOST',
      'a larger head was acknowledged',
      (seen) => ({ ...seen, acknowledged: seen.acknowledged.map((head) => ({ ...head, size: head.size + 1_000n })) }),
    ],
    [
      'HEAD_LOST',
      'more fees were acknowledged than have moved',
      (seen) => ({ ...seen, acknowledged: seen.acknowledged.map((head) => ({ ...head, fees: head.fees + 1n })) }),
    ],
    [
      'CLEARING_LOST',
      'a clearing says more than the chain',
      (seen) => ({ ...seen, clearings: seen.clearings.map((own) => ({ ...own, captured: own.captured + 1_000n })) }),
    ],
    [
      'SETTLED_TWICE',
      'a head stands twice on chain',
      (seen) =>
        changed(seen, (transaction) => ({
          ...transaction,
          logs: transaction.logs.flatMap((log) => (log.topics[0] === topicOf('HeadSettled') ? [log, log] : [log])),
        })),
    ],
    [
      'WRONG_BATCH_ROOT',
      'a batch has another root',
      (seen) =>
        changed(seen, (transaction) => ({
          ...transaction,
          logs: transaction.logs.map((log) =>
            log.topics[0] === topicOf('BatchSettled') ? { ...log, data: flipped(log.data) } : log,
          ),
        })),
    ],
    [
      'WRONG_LOG_ROOT',
      'a log has other leaves',
      (seen) => ({
        ...seen,
        logs: seen.logs.map((log) => ({ ...log, leaves: log.leaves.map((leaf) => keccak256(leaf)) })),
      }),
    ],
    [
      'ISSUER_SETTLED',
      'a log is an issuer’s',
      (seen) => ({ ...seen, logs: seen.logs.map((log) => ({ ...log, isIssuer: true })) }),
    ],
    [
      'EVIDENCE_UNREPORTED',
      'evidence is not on chain',
      (seen) => ({ ...seen, contradictions: seen.logs.map(({ enclave }) => enclave) }),
    ],
    [
      'EVIDENCE_REPEATED',
      'evidence was reported twice',
      (seen) => {
        const [first] = ours(seen)
        const [enclave] = seen.logs.map((log) => log.enclave)
        const topics = encodeEventTopics({
          abi: receiptSettlementAbi,
          eventName: 'EquivocationProven',
          args: { enclave, reporter: first?.from },
        }) as Hex[]
        const log = { address: seen.settlement, topics, data: '0x' } as const
        return changed(seen, (transaction) =>
          transaction.hash === first?.hash ? { ...transaction, logs: [...transaction.logs, log, log] } : transaction,
        )
      },
    ],
    [
      'PROOF_MISSING',
      'no proof is served',
      (seen) => ({ ...seen, proofs: seen.proofs.map(({ settled, ...proof }) => proof) }),
    ],
    [
      'PROOF_WRONG',
      'a proof leads elsewhere',
      (seen) => ({ ...seen, proofs: seen.proofs.map((proof) => ({ ...proof, leaf: keccak256(proof.leaf) })) }),
    ],
    [
      'GAS_WASTED',
      'more was spent than a perfect run and its faults cost',
      (seen) => changed(seen, (transaction) => ({ ...transaction, gasUsed: 100n * transaction.gasUsed })),
    ],
    [
      'GAS_WASTED',
      'a transaction changed nothing',
      (seen) =>
        changed(seen, (transaction) =>
          transaction.hash === ours(seen)[0]?.hash ? { ...transaction, logs: [] } : transaction,
        ),
    ],
    [
      'SETTLE_FAILED',
      'a settlement ran out of gas in a block that was taken back',
      (seen) => {
        const [first, ...others] = seen.blocks.filter(({ transactions }) =>
          transactions.some(({ from }) => seen.accounts.includes(from)),
        )
        const failed = (first?.transactions ?? []).map((transaction) => ({
          ...transaction,
          isSuccess: false,
          logs: [],
        }))
        return first === undefined ? seen : { ...seen, orphans: [{ ...first, transactions: failed }, ...others] }
      },
    ],
    ['NOT_SIGNED', 'a stranger signed', (seen) => sentFirst(seen, resent(seen, 0, { key: keyOf(SEED, 'stranger') }))],
    [
      'NONCE_REUSED',
      'a nonce was used for something else',
      (seen) =>
        sentFirst(
          seen,
          resent(seen, 0, { data: ours(seen)[3]?.input ?? '0x' }),
          resent(seen, 0, { fees: (fee) => 2n * fee }),
        ),
    ],
    [
      'FEE_NOT_RAISED',
      'a fee was raised by a twentieth',
      (seen) => sentFirst(seen, resent(seen, 0, {}), resent(seen, 0, { fees: (fee) => (fee * 105n) / 100n })),
    ],
    [
      'FEE_TOO_HIGH',
      'a fee was raised beyond five times what was suggested',
      (seen) => sentFirst(seen, resent(seen, 0, {}), resent(seen, 0, { fees: () => 10n ** 16n })),
    ],
    [
      'SENT_TWICE',
      'a head was sent under a second nonce',
      (seen) => sentFirst(seen, resent(seen, 0, {}), resent(seen, 3, { data: ours(seen)[0]?.input ?? '0x' })),
    ],
  ]

  test.each(PLANTED)('%s, when %s', async (code, _, plant) => {
    const findings = await audit(plant(good.observation))
    expect(findings.map((finding) => finding.code)).toContain(code)
  })
})

describe('a mistake of the aggregator shows within some seeds:', () => {
  test.each(MUTATIONS)('$is', async ({ faults, shows, mutation }) => {
    for (let seed = 1; seed <= SEEDS_MAX; seed++) {
      const { findings } = await simulate(seed, { faults, mutation, quietMs: 700_000 })
      if (findings.some(({ code }) => shows.includes(code))) return
    }
    expect.unreachable(`not found in ${SEEDS_MAX} seeds`)
  })
})

/** The same with another last byte. */
function flipped(data: Hex): Hex {
  const root = data.slice(2, 66)
  const last = root.endsWith('0') ? '1' : '0'
  return `0x${root.slice(0, -1)}${last}${data.slice(66)}`
}
