/** Reads from the chain what settlerFee.ts computes with. @module */
import { getAddress, type PublicClient } from 'viem'
import { receiptSettlementAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import type { SettleCall } from './callPlan.ts'
import { type Endpoints, reachedBy } from './endpoints.ts'
import { type EnclaveLedger, lineKey, settlerFee } from './settlerFee.ts'

/** What `call` pays `settler`, in units, if it is the next call. Throws what the endpoints throw. */
export async function readSettlerFee(
  endpoints: Endpoints,
  settlement: Hex,
  settler: Hex,
  call: SettleCall,
): Promise<bigint> {
  const contract = { address: settlement, abi: receiptSettlementAbi } as const
  const read = <T>(one: (client: PublicClient) => Promise<T>): Promise<T> => endpoints.agreed(one)
  const lines = call.clearings.flatMap(({ clearing }) =>
    clearing.enclaves.map(({ enclave }) => ({ keyset: clearing.keyset, enclave })),
  )
  const lineKeys = new Map(lines.map((line) => [lineKey(line.keyset, line.enclave), line]))
  const [settlerBps, protocolBps, nowSeconds, ledgers, cleared] = await Promise.all([
    read((client) => client.readContract({ ...contract, functionName: 'SETTLER_BPS' })),
    read((client) => client.readContract({ ...contract, functionName: 'PROTOCOL_BPS' })),
    endpoints.several(async (client) => (await client.getBlock({ blockTag: 'latest' })).timestamp),
    Promise.all(call.heads.map(({ enclave }) => readLedger(enclave))),
    Promise.all(
      [...lineKeys.values()].map(({ keyset, enclave }) =>
        read((client) =>
          client.readContract({ ...contract, functionName: 'clearedBy', args: [keyset, getAddress(enclave)] }),
        ),
      ),
    ),
  ])
  const now = reachedBy(1, nowSeconds) ?? 0n
  return settlerFee(call, {
    ledgers: new Map(
      ledgers.map(({ enclave, ledger, exclusiveUntil }) => [
        enclave,
        { ...ledger, isOthersTurn: now < exclusiveUntil },
      ]),
    ),
    clearedBy: new Map([...lineKeys.keys()].map((key, i) => [key, cleared[i] ?? 0n])),
    shares: { settlerBps: BigInt(settlerBps), bothBps: BigInt(settlerBps) + BigInt(protocolBps) },
  })

  async function readLedger(enclave: Hex): Promise<Account> {
    const args = [getAddress(enclave)] as const
    const { hasSettlerTerms, size, ...amounts } = await read((client) =>
      client.readContract({ ...contract, functionName: 'accountOf', args }),
    )
    const ledger = { ...amounts, size: BigInt(size) }
    if (!hasSettlerTerms) return { enclave, ledger, exclusiveUntil: 0n }
    const terms = await read((client) => client.readContract({ ...contract, functionName: 'settlerTermsOf', args }))
    const isOurs = terms.settler.toLowerCase() === settler.toLowerCase()
    return { enclave, ledger, exclusiveUntil: isOurs ? 0n : BigInt(terms.lastPaidAt) + BigInt(terms.exclusiveSeconds) }
  }
}

type Account = {
  readonly enclave: Hex
  readonly ledger: Omit<EnclaveLedger, 'isOthersTurn'>
  readonly exclusiveUntil: bigint
}
