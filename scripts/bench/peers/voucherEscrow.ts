/** The Graph's GraphTally, as a model: cumulative vouchers of 200 payers, collected ten in a call. @module */
import { encodeAbiParameters } from 'viem'
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { Contract, ModelChain } from './modelChain.ts'
import { addressOf, ENCLAVES, inGroups, keyOf, numbers, OWED, PAIRS, RECEIPTS, signWith, sum } from './workload.ts'

const VOUCHERS_IN_A_CALL = 10
/** A tenth for the data service, in parts of a million. */
const SERVICE_CUT = 100_000n

export type EscrowCosts = { readonly rav10: number; readonly rav1: number; readonly perReceipt: number }

/** Gas in the second round, and of one voucher alone in the third. */
export async function measureVoucherEscrow(chain: ModelChain): Promise<EscrowCosts> {
  const stage = await Stage.open(chain)
  await stage.collectAll(1n)
  const total = await stage.collectAll(2n)
  const alone = await stage.collect([await stage.voucherOf(0, 3n)])
  return { rav10: total / PAIRS, rav1: alone, perReceipt: total / RECEIPTS }
}

class Stage {
  readonly #chain: ModelChain
  readonly #collector: Contract
  readonly #service: Contract

  private constructor(chain: ModelChain, collector: Contract, service: Contract) {
    this.#chain = chain
    this.#collector = collector
    this.#service = service
  }

  static async open(chain: ModelChain): Promise<Stage> {
    const token = await chain.deploy('ModelToken')
    const provisions = await chain.deploy('Provisions')
    const payments = await chain.deploy('SplitPayments', [token.address, provisions.address])
    const escrow = await chain.deploy('VoucherEscrow', [token.address, payments.address])
    const collector = await chain.deploy('RavCollector', [escrow.address, provisions.address])
    const service = await chain.deploy('DataService', [collector.address])
    await chain.send(token, 'mint', [escrow.address, 10n ** 12n])
    for (const i of numbers(ENCLAVES)) {
      await chain.send(provisions, 'provision', [addressOf('receiver', i), service.address])
    }
    for (const i of numbers(PAIRS)) {
      const payer = addressOf('payer', i)
      const receiver = addressOf('receiver', i % ENCLAVES)
      await chain.send(escrow, 'open', [payer, collector.address, receiver, 10n ** 9n])
      await chain.send(collector, 'authorize', [payer, keyOf('signer', i).address])
    }
    return new Stage(chain, collector, service)
  }

  /** Collects what every payer owes, for one receiver after the other. */
  async collectAll(round: bigint): Promise<number> {
    const calls: number[] = []
    for (const receiver of numbers(ENCLAVES)) {
      const payers = numbers(PAIRS).filter((i) => i % ENCLAVES === receiver)
      for (const group of inGroups(payers, VOUCHERS_IN_A_CALL)) {
        const vouchers = await Promise.all(group.map((payer) => this.voucherOf(payer, round)))
        calls.push(await this.collect(vouchers))
      }
    }
    return sum(calls)
  }

  collect(vouchers: readonly Hex[]): Promise<number> {
    return this.#chain.send(this.#service, 'collect', [vouchers])
  }

  async voucherOf(payer: number, round: bigint): Promise<Hex> {
    const receiver = addressOf('receiver', payer % ENCLAVES)
    const rav = {
      collectionId: toHex(keyOf('collection', payer).privateKey),
      payer: addressOf('payer', payer),
      serviceProvider: receiver,
      dataService: this.#service.address,
      timestampNs: 1_800_000_000_123_456_789n + round,
      valueAggregate: OWED * round,
      metadata: '0x' as Hex,
    }
    const signature = signWith(keyOf('signer', payer), await this.#chain.read(this.#collector, 'digestOf', [rav]))
    return encodeAbiParameters(VOUCHER, [{ rav, signature }, SERVICE_CUT, receiver])
  }
}

const VOUCHER = [
  {
    type: 'tuple',
    components: [
      {
        name: 'rav',
        type: 'tuple',
        components: [
          { name: 'collectionId', type: 'bytes32' },
          { name: 'payer', type: 'address' },
          { name: 'serviceProvider', type: 'address' },
          { name: 'dataService', type: 'address' },
          { name: 'timestampNs', type: 'uint64' },
          { name: 'valueAggregate', type: 'uint128' },
          { name: 'metadata', type: 'bytes' },
        ],
      },
      { name: 'signature', type: 'bytes' },
    ],
  },
  { type: 'uint256' },
  { type: 'address' },
] as const
