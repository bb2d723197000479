/** The deployed contracts under the names of plainSettlement.ts: makes its calls, and reads everything that can be read. @module */
import { type Abi, decodeErrorResult, encodeFunctionData, parseEventLogs } from 'viem'
import { creditVaultAbi, enclaveRegistryAbi, receiptSettlementAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { encodeUint, type Hex, toHex } from '#protocol/bytes.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { signClearing } from '#protocol/receipt/clearing.ts'
import { signHead } from '#protocol/receipt/head.ts'
import { deployLocal, type LocalChain, registerTestEnclave, type TestAccount, type TestEnclave } from './chain.ts'
import { mined, openTestKeyset, testSeed } from './credits.ts'
import type { Name, PlainAnswer, PlainCall, PlainClearing, PlainHead } from './plainSettlement.ts'

export const GATEWAYS: readonly Name[] = ['gateway 0', 'gateway 1', 'gateway 2']
export const ISSUERS: readonly Name[] = ['issuer 0', 'issuer 1']
export const KEYSETS: readonly Name[] = ['keyset 0', 'keyset 1']
/** Accounts that call; `operator` operates every enclave. */
export const CALLERS: readonly TestAccount[] = ['operator', 'settler', 'stranger']
/** What deposits may be, in units, by the number of their size. */
export const DEPOSITS: readonly bigint[] = [1_000_000n, 10_000_000n]

const GAS = '0x7a1200'
const HEAD_REFUSALS = [
  'None',
  'BadSignature',
  'UnknownEnclave',
  'EnclaveEnded',
  'SizeOutOfRange',
  'Duplicate',
  'Contradiction',
  'SettlerExclusive',
]
const CLEARING_REFUSALS = ['None', 'BadSignature', 'UnknownKeyset', 'IssuerEnded', 'OutOfBounds', 'StaleLine']
const ERRORS = [...receiptSettlementAbi, ...enclaveRegistryAbi, ...creditVaultAbi] as Abi

type View = {
  readonly address: Hex
  readonly abi: Abi
  readonly functionName: string
  readonly args: readonly unknown[]
}
type RpcAnswer = {
  readonly result?: unknown
  readonly error?: { readonly message: string; readonly data?: unknown }
}

export class PlainStage {
  readonly chain: LocalChain
  readonly #enclaves: ReadonlyMap<Name, TestEnclave>
  readonly #keysets: ReadonlyMap<Name, Hex>
  readonly #accounts = new Map<Name, Hex>()
  #deposits = 0

  private constructor(chain: LocalChain, enclaves: ReadonlyMap<Name, TestEnclave>, keysets: ReadonlyMap<Name, Hex>) {
    this.chain = chain
    this.#enclaves = enclaves
    this.#keysets = keysets
  }

  /** Three gateways and two issuers with a keyset each, nothing deposited. */
  static async open(): Promise<PlainStage> {
    const chain = await deployLocal()
    const enclaves = new Map<Name, TestEnclave>()
    for (const [i, name] of GATEWAYS.entries()) enclaves.set(name, await registerTestEnclave(chain, testSeed(i)))
    const keysets = new Map<Name, Hex>()
    for (const [i, name] of ISSUERS.entries()) {
      const issuer = await registerTestEnclave(chain, testSeed(100 + i), { role: ENCLAVE_ROLE.issuer })
      enclaves.set(name, issuer)
      keysets.set(KEYSETS[i] ?? '', (await openTestKeyset(chain, issuer.enclave, name)).id)
    }
    const wallet = chain.wallet('deployer')
    const token = { address: chain.addresses.token, abi: testOPGAbi } as const
    const amount = 10n ** 30n
    await mined(
      chain,
      await wallet.writeContract({ ...token, functionName: 'mint', args: [wallet.account.address, amount] }),
    )
    await mined(
      chain,
      await wallet.writeContract({ ...token, functionName: 'approve', args: [chain.addresses.vault, amount] }),
    )
    return new PlainStage(chain, enclaves, keysets)
  }

  async endsAtOf(name: Name): Promise<bigint> {
    const { registry: address } = this.chain.addresses
    const args = [this.#enclaveOf(name)] as const
    const { endsAt } = await this.chain.client.readContract({
      address,
      abi: enclaveRegistryAbi,
      functionName: 'enclaveOf',
      args,
    })
    return BigInt(endsAt)
  }

  async signUntilOf(name: Name): Promise<bigint> {
    const { vault: address } = this.chain.addresses
    const args = [this.#keysetOf(name)] as const
    const contract = { address, abi: creditVaultAbi, functionName: 'keysetTimes', args } as const
    return BigInt((await this.chain.client.readContract(contract)).signUntil)
  }

  /** Makes the call in a block at `now`. */
  async call(call: PlainCall, now: bigint): Promise<PlainAnswer> {
    const { to, data, from } = this.#encode(call)
    await this.#rpc('evm_setNextBlockTimestamp', [Number(now)])
    const { result, error } = await this.#ask('eth_sendTransaction', [{ from, to, data, gas: GAS }])
    if (error !== undefined) return { error: errorNameOf(error) }
    const { logs } = await this.chain.client.getTransactionReceipt({ hash: result as Hex })
    const skipped = parseEventLogs({ abi: receiptSettlementAbi, logs, eventName: ['HeadSkipped', 'ClearingSkipped'] })
    return {
      skipped: skipped.map(({ eventName, args }) =>
        eventName === 'HeadSkipped'
          ? `head ${HEAD_REFUSALS[args.reason]}`
          : `clearing ${CLEARING_REFUSALS[args.reason]}`,
      ),
    }
  }

  /** Everything that the contracts tell, in the shape of `readPlain`. */
  async read(): Promise<Readonly<Record<string, unknown>>> {
    const { registry, settlement, vault, token } = this.chain.addresses
    const account = (name: TestAccount) => this.#accountOf(name)
    const views = new Map<string, View>()
    const ask = (key: string, address: Hex, abi: Abi, functionName: string, ...args: readonly unknown[]) =>
      views.set(key, { address, abi, functionName, args })
    for (const name of GATEWAYS) {
      const enclave = this.#enclaveOf(name)
      for (const functionName of ['accountOf', 'operatorShareOf', 'operatorPayoutOf', 'settlerTermsOf']) {
        ask(`${name} ${functionName}`, settlement, receiptSettlementAbi, functionName, enclave)
      }
      ask(`${name} state`, registry, enclaveRegistryAbi, 'stateOf', enclave)
    }
    for (const name of KEYSETS) {
      const keyset = this.#keysetOf(name)
      ask(`${name} totals`, settlement, receiptSettlementAbi, 'keysetTotals', keyset)
      ask(`${name} keyset`, vault, creditVaultAbi, 'keysetOf', keyset)
      for (const gateway of GATEWAYS) {
        ask(`${name} ${gateway}`, settlement, receiptSettlementAbi, 'clearedBy', keyset, this.#enclaveOf(gateway))
      }
    }
    for (const name of CALLERS) {
      ask(`${name} earned`, settlement, receiptSettlementAbi, 'settlerEarned', account(name))
      ask(`${name} payout`, settlement, receiptSettlementAbi, 'settlerPayoutOf', account(name))
    }
    for (const functionName of ['protocolEarned', 'insurance', 'batchCount']) {
      ask(functionName, settlement, receiptSettlementAbi, functionName)
    }
    ask('held', token, testOPGAbi, 'balanceOf', vault)
    ask('paid to the protocol', token, testOPGAbi, 'balanceOf', account('protocol'))
    return shape(await this.#readAll(views), (name) => CALLERS.find((caller) => isSame(account(caller), name)))
  }

  close(): Promise<void> {
    return this.chain.close()
  }

  async snapshot(): Promise<unknown> {
    return await this.#rpc('evm_snapshot', [])
  }

  async revert(snapshot: unknown): Promise<void> {
    await this.#rpc('evm_revert', [snapshot])
  }

  #encode(call: PlainCall): { readonly to: Hex; readonly data: Hex; readonly from: Hex } {
    const { registry, settlement, vault } = this.chain.addresses
    const from = this.#accountOf(call.sender)
    const onSettlement = (functionName: string, ...args: readonly unknown[]) => ({
      from,
      to: settlement,
      data: encodeFunctionData({ abi: receiptSettlementAbi as Abi, functionName, args: [...args] }),
    })
    switch (call.kind) {
      case 'settle':
        return onSettlement(
          'settle',
          call.heads.map((head) => this.#sign(head)),
          call.clearings.map((one) => this.#clear(one)),
        )
      case 'nameSettler': {
        const settler = call.settler === undefined ? `0x${'00'.repeat(20)}` : this.#accountOf(call.settler)
        return onSettlement('nameSettler', this.#enclaveOf(call.enclave), settler, Number(call.seconds))
      }
      case 'reportContradiction':
        return onSettlement('reportContradiction', this.#sign(call.a), this.#sign(call.b))
      case 'credit':
      case 'thaw':
      case 'withdraw':
      case 'sweepUnmatched':
        return onSettlement(call.kind, this.#enclaveOf(call.enclave))
      case 'retire': {
        const args = [this.#enclaveOf(call.enclave)] as const
        return {
          from,
          to: registry,
          data: encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'retire', args }),
        }
      }
      case 'deposit': {
        const claimKey = toHex(keccak256(encodeUint(BigInt(this.#deposits++), 32)).subarray(12))
        const args = [this.#keysetOf(call.keyset), DEPOSITS.indexOf(call.units), claimKey] as const
        return { from, to: vault, data: encodeFunctionData({ abi: creditVaultAbi, functionName: 'deposit', args }) }
      }
      case 'insure': {
        const data = encodeFunctionData({ abi: creditVaultAbi, functionName: 'insure', args: [call.units] })
        return { from, to: vault, data }
      }
      default:
        return onSettlement(call.kind)
    }
  }

  #sign({ enclave, signer, kind, size, root, fees }: PlainHead): unknown {
    const stated = { enclave: this.#enclaveOf(enclave), size, root: toHex(keccak256(encodeUint(BigInt(root), 32))) }
    const head = kind === 'log' ? ({ kind, ...stated } as const) : ({ kind, ...stated, fees } as const)
    const { signature } = signHead(head, this.chain.addresses, this.#keyOf(signer))
    return { ...stated, kind: kind === 'log' ? 0 : 1, fees: kind === 'log' ? 0n : fees, ...signature }
  }

  #clear({ keyset, signer, issued, captured, lines }: PlainClearing): unknown {
    const enclaves = lines.map((line) => ({ enclave: this.#enclaveOf(line.enclave), captured: line.captured }))
    const stated = { keyset: this.#keysetOf(keyset), issued, captured, enclaves }
    return signClearing(stated, this.chain.addresses, this.#keyOf(signer))
  }

  /** All views in one call. */
  async #readAll(views: ReadonlyMap<string, View>): Promise<Map<string, unknown>> {
    const contracts = [...views.values()]
    const answers = await this.chain.client.multicall({ contracts, allowFailure: false, deployless: true })
    return new Map([...views.keys()].map((key, i) => [key, answers[i]]))
  }

  async #rpc(method: string, params: readonly unknown[]): Promise<unknown> {
    const { result, error } = await this.#ask(method, params)
    if (error !== undefined) throw new Error(`${method}: ${error.message}`)
    return result
  }

  async #ask(method: string, params: readonly unknown[]): Promise<RpcAnswer> {
    return (await post(this.chain.rpcUrl, { jsonrpc: '2.0', id: 0, method, params })) as RpcAnswer
  }

  /** Kept, as each is derived from the mnemonic. */
  #accountOf(name: Name): Hex {
    const address = this.#accounts.get(name) ?? this.chain.account(name as TestAccount).address
    this.#accounts.set(name, address)
    return address
  }

  /** Of a stranger too, who is registered nowhere. */
  #keyOf(name: Name): Uint8Array {
    return this.#enclaves.get(name)?.privateKey ?? keccak256(new TextEncoder().encode(name))
  }

  #enclaveOf(name: Name): Hex {
    return this.#enclaves.get(name)?.enclave ?? toHex(this.#keyOf(name).subarray(12))
  }

  #keysetOf(name: Name): Hex {
    return this.#keysets.get(name) ?? toHex(this.#keyOf(name))
  }
}

type Tuple = Readonly<Record<string, bigint | number | string | boolean>>

/** Names instead of addresses, and what a payout still owes instead of how it is counted. */
function shape(
  answers: ReadonlyMap<string, unknown>,
  nameOf: (address: Hex) => Name | undefined,
): Record<string, unknown> {
  const tuple = (key: string) => answers.get(key) as Tuple
  const whole = (key: string) => BigInt(answers.get(key) as bigint)
  const payout = ({ thawing, readyAt }: Tuple) =>
    thawing === 0n ? undefined : { thawing, readyAt: BigInt(readyAt as number) }
  const enclaves = GATEWAYS.map((name) => {
    const { size, earned, cleared, credited } = tuple(`${name} accountOf`)
    const drawn = tuple(`${name} operatorPayoutOf`)
    const terms = tuple(`${name} settlerTermsOf`)
    const settler = nameOf(terms.settler as Hex)
    return {
      name,
      state: answers.get(`${name} state`),
      account: { size: BigInt(size as number), earned, cleared, credited },
      due: whole(`${name} operatorShareOf`) - (drawn.drawn as bigint),
      payout: payout(drawn),
      settler:
        settler === undefined
          ? undefined
          : {
              name: settler,
              seconds: BigInt(terms.exclusiveSeconds as number),
              lastPaidAt: BigInt(terms.lastPaidAt as number),
            },
    }
  })
  const keysets = KEYSETS.map((name) => {
    const { issued, claimed, cleared } = tuple(`${name} totals`)
    const lines = GATEWAYS.map((gateway) => whole(`${name} ${gateway}`))
    return { name, deposited: tuple(`${name} keyset`).deposited, issued, claimed, cleared, lines }
  })
  const settlers = CALLERS.map((name) => ({
    name,
    due: whole(`${name} earned`) - (tuple(`${name} payout`).drawn as bigint),
    payout: payout(tuple(`${name} payout`)),
  }))
  return {
    enclaves,
    keysets,
    settlers,
    protocolEarned: whole('protocolEarned'),
    insurance: whole('insurance'),
    batches: whole('batchCount'),
    held: whole('held') / BASE_UNITS_PER_UNIT,
    paidToProtocol: whole('paid to the protocol') / BASE_UNITS_PER_UNIT,
  }
}

/** The error that a node says a transaction reverted with. */
function errorNameOf({ message, data }: { readonly message: string; readonly data?: unknown }): string {
  const bytes = typeof data === 'object' && data !== null && 'data' in data ? data.data : data
  if (typeof bytes !== 'string') throw new Error(`expected a reason: ${message}`)
  return decodeErrorResult({ abi: ERRORS, data: bytes as Hex }).errorName
}

async function post(url: string, body: unknown): Promise<unknown> {
  const headers = { 'content-type': 'application/json' }
  return await (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).json()
}

function isSame(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase()
}
