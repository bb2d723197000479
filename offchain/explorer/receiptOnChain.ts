/** What aggregator and chain say of a receipt that holds by itself: its proof, its enclave, its batch, and whether that is final. @module */
import { getAddress } from 'viem/utils'
import { enclaveRegistryAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { ENCLAVE_STATES } from '#chain/registry.ts'
import { readBodyText } from '#protocol/boundedBody.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { hashPrivateReceipt, hashPublicReceipt, receiptLeaf } from '#protocol/receipt/receipt.ts'
import { PROOF_BYTES_MAX } from '#protocol/wire/aggregatorApi.ts'
import { parseJson } from '#protocol/wire/json.ts'
import { type SettledLeaf, SettledLeafSchema } from '#protocol/wire/receiptFile.ts'
import { SealpathError } from '../sdk/errors.ts'
import { checkSettled } from '../sdk/sealedReceipt.ts'
import type { ExplorerConfig } from './config.ts'
import type { Reader } from './reader.ts'
import type { Dropped } from './receiptFile.ts'
import { failed, open, passed, type Step, skipped } from './steps.ts'

export type ChainExamination = {
  /** The settled proof, once it led to what the chain stores. */
  readonly settled?: SettledLeaf
  readonly isDevelopment?: boolean
}

const TITLES = {
  chain: 'It is a receipt of this chain',
  contracts: 'It names the contracts of this network',
  enclave: 'Its enclave is in good standing',
  proof: 'A settled proof is at hand',
  settled: 'The proof leads to a root on chain',
  final: 'The batch is final',
} as const
type StepName = keyof typeof TITLES

const PROOF_TIMEOUT_MS = 15_000
const NOT_ASKED = 'Not asked, as an earlier step did not pass.'
const NO_ANSWER = 'The RPC endpoint does not answer this: try again, or another endpoint.'
const NO_ROOT = /^0x0+$/

/** Makes the checks in their order, telling `onStep` of each. `isSound`: whether the file itself holds; nobody is asked about one that does not. */
export async function examineOnChain(
  access: { readonly reader: Reader; readonly config: ExplorerConfig },
  dropped: Dropped,
  isSound: boolean,
  onStep: (step: Step) => void,
): Promise<ChainExamination> {
  const told = new Set<StepName>()
  const tell = (make: typeof passed, name: StepName, says: string): void => {
    told.add(name)
    onStep(make(name, TITLES[name], says))
  }
  try {
    return isSound ? await examine(access, dropped, tell) : {}
  } finally {
    for (const name of Object.keys(TITLES) as StepName[]) if (!told.has(name)) tell(skipped, name, NOT_ASKED)
  }
}

type Tell = (make: typeof passed, name: StepName, says: string) => void

async function examine(
  { reader, config }: { readonly reader: Reader; readonly config: ExplorerConfig },
  { receipt, settled: given }: Dropped,
  tell: Tell,
): Promise<ChainExamination> {
  const { registry, settlement, chainId } = config.deployment
  const actual = await orUndefined(reader.getChainId())
  if (actual === undefined) {
    tell(open, 'chain', NO_ANSWER)
    return {}
  }
  if (actual !== receipt.chainId || actual !== chainId) {
    tell(
      failed,
      'chain',
      `The receipt names chain ${receipt.chainId}, this network is on ${chainId}, the endpoint on ${actual}.`,
    )
    return {}
  }
  tell(passed, 'chain', `Chain ${actual}, as receipt and endpoint say.`)
  if (receipt.registry !== registry || receipt.settlement !== settlement) {
    tell(
      failed,
      'contracts',
      `The receipt names registry ${receipt.registry} and settlement ${receipt.settlement}: not those of this network.`,
    )
    return {}
  }
  const bound = await orUndefined(
    reader.readContract({ address: registry, abi: enclaveRegistryAbi, functionName: 'settlement' }),
  )
  if (bound === undefined || bound.toLowerCase() !== settlement) {
    if (bound === undefined) tell(open, 'contracts', NO_ANSWER)
    else tell(failed, 'contracts', `The registry is bound to the settlement contract ${bound}.`)
    return {}
  }
  tell(passed, 'contracts', `Registry ${registry} with settlement ${settlement}.`)
  const isDevelopment = await examineEnclave(reader, registry, receipt.public.enclave, tell)
  const found = given ?? (await fetchProof(config.aggregatorUrl, leafOf(receipt), tell))
  if (found === undefined) return { isDevelopment }
  if (given !== undefined) tell(passed, 'proof', 'The file brings it.')
  const isSettled = await examineSettled(reader, settlement, { receipt, settled: found }, tell)
  if (!isSettled) return { isDevelopment }
  await examineFinality(reader, settlement, found, tell)
  return { settled: found, isDevelopment }
}

async function examineEnclave(reader: Reader, registry: Hex, enclave: Hex, tell: Tell): Promise<boolean> {
  const contract = { address: registry, abi: enclaveRegistryAbi, args: [getAddress(enclave)] } as const
  const answer = await orUndefined(
    Promise.all([
      reader.readContract({ ...contract, functionName: 'stateOf' }),
      reader.readContract({ ...contract, functionName: 'enclaveOf' }),
    ]),
  )
  if (answer === undefined) {
    tell(open, 'enclave', NO_ANSWER)
    return false
  }
  const [number, { isDevelopment, measurement }] = answer
  const state = ENCLAVE_STATES[number] ?? 'none'
  if (state === 'none') tell(failed, 'enclave', `The registry does not know ${enclave}.`)
  else if (state === 'compromised')
    tell(failed, 'enclave', `${enclave} contradicted itself: the registry calls it compromised.`)
  else {
    const kind = isDevelopment ? ' It is a DEVELOPMENT enclave: no hardware stands behind it.' : ''
    tell(passed, 'enclave', `${enclave} is ${state}, measured as ${measurement}.${kind}`)
  }
  return isDevelopment
}

async function fetchProof(aggregatorUrl: string, leaf: Hex, tell: Tell): Promise<SettledLeaf | undefined> {
  const { host } = new URL(aggregatorUrl)
  let status: number
  let text: string
  try {
    const response = await fetch(new URL(`/v1/proofs/${leaf}`, aggregatorUrl), {
      signal: AbortSignal.timeout(PROOF_TIMEOUT_MS),
    })
    status = response.status
    text = await readBodyText(response.body, PROOF_BYTES_MAX)
  } catch {
    // Whatever the reason, nothing is known of the proof.
    tell(open, 'proof', `The aggregator ${host} does not answer.`)
    return undefined
  }
  if (status === 202) tell(open, 'proof', `The aggregator ${host} holds the leaf; it is not settled yet.`)
  else if (status === 404)
    tell(open, 'proof', `The aggregator ${host} does not know the leaf: it was not delivered yet, or only to another.`)
  else if (status !== 200) tell(open, 'proof', `The aggregator ${host} answers ${status}.`)
  if (status !== 200) return undefined
  try {
    const settled = parseJson(SettledLeafSchema, text, 'settled proof')
    tell(passed, 'proof', `The aggregator ${host} served it.`)
    return settled
  } catch {
    // An aggregator that serves rubbish says nothing of the receipt.
    tell(open, 'proof', `What the aggregator ${host} serves is no proof.`)
    return undefined
  }
}

async function examineSettled(
  reader: Reader,
  settlement: Hex,
  { receipt, settled }: { readonly receipt: Dropped['receipt']; readonly settled: SettledLeaf },
  tell: Tell,
): Promise<boolean> {
  try {
    await checkSettled({ client: reader, settlement }, leafOf(receipt), receipt.public.enclave, settled)
  } catch (error) {
    if (!(error instanceof SealpathError)) throw error
    if (error.code === 'CHAIN_FAILED') tell(open, 'settled', NO_ANSWER)
    else tell(failed, 'settled', `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`)
    return false
  }
  tell(passed, 'settled', `Log path and batch path lead to the root that the chain stores for batch ${settled.batch}.`)
  return true
}

/** Final is what a finalized block holds already: neither the block nor the transaction that the proof names is believed. */
async function examineFinality(reader: Reader, settlement: Hex, { batch }: SettledLeaf, tell: Tell): Promise<void> {
  const read = { address: settlement, abi: receiptSettlementAbi, functionName: 'batchRoot', args: [batch] } as const
  const roots = await orUndefined(
    Promise.all([reader.readContract({ ...read, blockTag: 'finalized' }), reader.readContract(read)]),
  )
  const [root, newest] = roots ?? []
  if (root === undefined) tell(open, 'final', NO_ANSWER)
  else if (NO_ROOT.test(root) || root !== newest)
    tell(open, 'final', 'No finalized block holds the batch yet: it could still be reorganised.')
  else tell(passed, 'final', `The newest finalized block holds batch ${batch}.`)
}

function leafOf({ public: open, private: kept }: Dropped['receipt']): Hex {
  return toHex(receiptLeaf(hashPublicReceipt(open), hashPrivateReceipt(kept)))
}

async function orUndefined<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch {
    // The step that needed it says that the endpoint did not answer.
    return undefined
  }
}
