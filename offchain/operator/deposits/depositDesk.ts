/**
 * Sells deposits over HTTP 402 by x402's `exact` scheme: the payer signs one ERC-3009 authorisation and needs neither gas nor a node.
 *
 * The authorisation pays into the purchase's own box, an address that the vault derives from keyset, claim key and refund address. So a payment can
 * never arrive unattributed, whoever submits it and whatever stops in between: money that lies in a box becomes this very deposit, or goes
 * back to its payer, by a call that anyone may make. The desk is trusted with nothing and keeps nothing; a repeat goes on where it was.
 * @module
 */
import { x402Facilitator } from '@x402/core/facilitator'
import { decodePaymentSignatureHeader, encodePaymentRequiredHeader, encodePaymentResponseHeader } from '@x402/core/http'
import { x402ResourceServer } from '@x402/core/server'
import type { PaymentPayload, PaymentRequirements, SettleResponse } from '@x402/core/types'
import { toFacilitatorEvmSigner } from '@x402/evm'
import { ExactEvmScheme as ExactFacilitator } from '@x402/evm/exact/facilitator'
import { ExactEvmScheme as ExactServer } from '@x402/evm/exact/server'
import {
  type Account,
  type Chain,
  encodeFunctionData,
  getAddress,
  type PublicClient,
  type Transport,
  type WalletClient,
} from 'viem'
import { creditVaultAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { AppError } from '#node/appError.ts'
import type { Hex } from '#protocol/bytes.ts'
import { DEPOSIT_SIZES } from '#protocol/credits/purchase.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'

/** What is bought: a deposit of one size (0, 1 or 2) for a claim key. What is not answered goes back to `refundTo`. */
export type BoxPurchase = {
  readonly keyset: Hex
  readonly size: number
  readonly claimKey: Hex
  readonly refundTo: Hex
}

export type DeskAnswer =
  /** The deposit stands. `settlement` when this very call took the payment. */
  | { readonly kind: 'deposited'; readonly box: Hex; readonly settlement: string | undefined }
  /** Pay so; `reason` when a payment came that is none. */
  | { readonly kind: 'payment-required'; readonly required: string; readonly reason: string | undefined }
  /** It cannot be bought now. */
  | { readonly kind: 'refused'; readonly code: 'KEYSET_CLOSED' | 'DEPOSITS_PAUSED' | 'UNKNOWN_KEYSET' }

export type DepositDesk = {
  /**
   * Takes a purchase as far as `payment`, the request's PAYMENT-SIGNATURE header, carries it. `url` is the request's own. Throws `AppError`
   * (`RPC_FAILED`, retryable): whatever was paid is in the box then, and the same request without a payment goes on.
   */
  take(purchase: BoxPurchase, url: string, payment: string | undefined): Promise<DeskAnswer>
}

export type DeskOptions = {
  readonly client: PublicClient
  /** Pays the gas. */
  readonly wallet: WalletClient<Transport, Chain, Account>
  readonly vault: Hex
  readonly now: () => number
}

/** A payment is asked for only if this much of the keyset's first phase is left, in seconds. */
const MARGIN_SECONDS = 600
const PAYMENT_SECONDS_MAX = 300

/** Reads the token's name and connects the official x402 server to a facilitator in this process. Throws `AppError` (`RPC_FAILED`). */
export async function openDepositDesk(options: DeskOptions): Promise<DepositDesk> {
  const { client, wallet, vault } = options
  const token = await onChain(client.readContract({ address: vault, abi: creditVaultAbi, functionName: 'TOKEN' }))
  const [, name, version] = await onChain(
    client.readContract({ address: token, abi: testOPGAbi, functionName: 'eip712Domain' }),
  )
  const network = `eip155:${wallet.chain.id}` as const
  const signer = toFacilitatorEvmSigner(facilitatorClient(options), {})
  const facilitator = new x402Facilitator().register(network, new ExactFacilitator(signer))
  const server = new x402ResourceServer({
    verify: (payload, requirements) => facilitator.verify(payload, requirements),
    settle: (payload, requirements) => facilitator.settle(payload, requirements),
    getSupported: async () => facilitator.getSupported() as Awaited<ReturnType<SupportedOf>>,
  }).register(network, new ExactServer())
  await server.initialize()
  const desk = new Desk(options, { server, network, token, name, version })
  return { take: (purchase, url, payment) => desk.take(purchase, url, payment) }
}

type SupportedOf = Extract<
  ConstructorParameters<typeof x402ResourceServer>[0],
  { getSupported: unknown }
>['getSupported']

type Sale = {
  readonly server: x402ResourceServer
  readonly network: `eip155:${number}`
  readonly token: Hex
  readonly name: string
  readonly version: string
}

class Desk {
  readonly #options: DeskOptions
  readonly #sale: Sale
  /** One purchase after the other for each box, so that no payment is taken twice. */
  readonly #turns = new Map<Hex, Promise<unknown>>()

  constructor(options: DeskOptions, sale: Sale) {
    this.#options = options
    this.#sale = sale
  }

  async take(purchase: BoxPurchase, url: string, payment: string | undefined): Promise<DeskAnswer> {
    const box = await this.#read('boxOf', [purchase.keyset, purchase.claimKey, purchase.refundTo])
    const before = this.#turns.get(box) ?? Promise.resolve()
    const turn = before.catch(() => undefined).then(() => this.#takeInTurn(purchase, box, url, payment))
    this.#turns.set(box, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(box) === turn) this.#turns.delete(box)
    }
  }

  async #takeInTurn(purchase: BoxPurchase, box: Hex, url: string, payment: string | undefined): Promise<DeskAnswer> {
    const { keyset, size, claimKey } = purchase
    const deposit = await this.#read('depositOf', [keyset, claimKey])
    if (deposit.state !== 0) return { kind: 'deposited', box, settlement: undefined }
    const closed = await this.#closed(keyset)
    if (closed !== undefined) return { kind: 'refused', code: closed }
    const amount = (DEPOSIT_SIZES[size] ?? 0n) * BASE_UNITS_PER_UNIT
    if ((await this.#balanceOf(box)) >= amount) {
      await this.#collect(purchase)
      return { kind: 'deposited', box, settlement: undefined }
    }
    const requirements = await this.#requirements(box, amount)
    const payload = payment === undefined ? undefined : parsePayment(payment)
    if (payload === undefined) {
      const reason = payment === undefined ? undefined : 'the payment header is malformed'
      return this.#required(requirements, url, reason)
    }
    const settled = await this.#settle(requirements, payload)
    if (typeof settled === 'string') return this.#required(requirements, url, settled)
    await this.#collect(purchase)
    return { kind: 'deposited', box, settlement: encodePaymentResponseHeader(settled) }
  }

  /** Why nothing can be bought under this keyset now: better said before the money moves. */
  async #closed(keyset: Hex): Promise<Extract<DeskAnswer, { kind: 'refused' }>['code'] | undefined> {
    const [{ number }, { signUntil }, isPaused] = await Promise.all([
      this.#read('keysetOf', [keyset]),
      this.#read('keysetTimes', [keyset]),
      this.#read('paused', []),
    ])
    if (number === 0) return 'UNKNOWN_KEYSET'
    if (isPaused) return 'DEPOSITS_PAUSED'
    return signUntil - MARGIN_SECONDS < this.#options.now() ? 'KEYSET_CLOSED' : undefined
  }

  async #requirements(payTo: Hex, amount: bigint): Promise<PaymentRequirements[]> {
    const { server, network, token, name, version } = this.#sale
    const price = { asset: token, amount: amount.toString() }
    const extra = { name, version, assetTransferMethod: 'eip3009' }
    const option = { scheme: 'exact', payTo, price, network, maxTimeoutSeconds: PAYMENT_SECONDS_MAX, extra }
    return server.buildPaymentRequirementsFromOptions([option], undefined)
  }

  async #required(requirements: PaymentRequirements[], url: string, reason: string | undefined): Promise<DeskAnswer> {
    const resource = { url, description: 'a deposit for blind credits', mimeType: 'application/json' }
    const required = await this.#sale.server.createPaymentRequiredResponse(requirements, resource, reason)
    return { kind: 'payment-required', required: encodePaymentRequiredHeader(required), reason }
  }

  /** The settled payment, or why it is none. */
  async #settle(requirements: PaymentRequirements[], payload: PaymentPayload): Promise<SettleResponse | string> {
    const { server } = this.#sale
    const chosen = server.findMatchingRequirements(requirements, payload)
    if (chosen === undefined) return 'the payment is for something else'
    const verified = await server.verifyPayment(payload, chosen)
    if (!verified.isValid) return verified.invalidReason ?? 'the payment is not valid'
    const settled = await server.settlePayment(payload, chosen)
    return settled.success ? settled : (settled.errorReason ?? 'the payment could not be settled')
  }

  /** Makes the deposit of what is in the box. Somebody else may have: then it stands all the same. */
  async #collect({ keyset, size, claimKey, refundTo }: BoxPurchase): Promise<void> {
    const { client, wallet, vault } = this.#options
    const data = encodeFunctionData({
      abi: creditVaultAbi,
      functionName: 'depositFromBox',
      args: [keyset, size, getAddress(claimKey), getAddress(refundTo)],
    })
    const send = async (): Promise<boolean> => {
      const hash = await wallet.sendTransaction({ to: vault, data })
      return (await client.waitForTransactionReceipt({ hash })).status === 'success'
    }
    const isDone = await send().catch(() => false)
    if (isDone || (await this.#read('depositOf', [keyset, claimKey])).state !== 0) return
    throw new AppError('RPC_FAILED', 'the payment is in its box and the deposit is not made yet: ask again', {
      retryable: true,
    })
  }

  #balanceOf(box: Hex): Promise<bigint> {
    const { client } = this.#options
    const token = { address: this.#sale.token, abi: testOPGAbi } as const
    return onChain(client.readContract({ ...token, functionName: 'balanceOf', args: [getAddress(box)] }))
  }

  #read<Name extends keyof VaultReads>(functionName: Name, args: readonly unknown[]): Promise<VaultReads[Name]> {
    const { client, vault } = this.#options
    const call = { address: vault, abi: creditVaultAbi, functionName, args } as Parameters<
      typeof client.readContract
    >[0]
    return onChain(client.readContract(call)) as Promise<VaultReads[Name]>
  }
}

/** What is read of the vault, by its ABI. */
type VaultReads = {
  boxOf: Hex
  depositOf: { readonly state: number }
  keysetOf: { readonly number: number }
  keysetTimes: { readonly signUntil: number }
  paused: boolean
}

function parsePayment(header: string): PaymentPayload | undefined {
  try {
    return decodePaymentSignatureHeader(header)
  } catch {
    // Whatever is wrong with it, it is no payment.
    return undefined
  }
}

/** The chain as x402's facilitator wants it. */
function facilitatorClient({ client, wallet }: DeskOptions): Parameters<typeof toFacilitatorEvmSigner>[0] {
  return {
    address: wallet.account.address,
    readContract: (call) => client.readContract(call as Parameters<typeof client.readContract>[0]),
    verifyTypedData: (call) => client.verifyTypedData(call as Parameters<typeof client.verifyTypedData>[0]),
    writeContract: (call) => wallet.writeContract(call as Parameters<typeof wallet.writeContract>[0]),
    sendTransaction: (call) => wallet.sendTransaction(call),
    waitForTransactionReceipt: (call) => client.waitForTransactionReceipt(call),
    getCode: (call) => client.getCode(call),
  }
}

async function onChain<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (cause) {
    throw new AppError('RPC_FAILED', 'the chain does not answer', { cause, retryable: true })
  }
}
