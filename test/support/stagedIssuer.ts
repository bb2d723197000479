/** An issuer as gateways see it, for tests: it opens what wallets sealed to it, and does the plain arithmetic. No chain, no log. @module */
import { randomBytes } from 'node:crypto'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { bootEnclave, type Enclave } from '#node/enclave/enclave.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import type { Hex } from '#protocol/bytes.ts'
import { type OpenedPayment, openPayment } from '#protocol/credits/sealedPayment.ts'
import type { CaptureAnswer, RenewAnswer, ReserveAnswer } from '#protocol/wire/issuerApi.ts'
import { type IssuerClient, IssuerRefusal } from '../../gateway/issuerClient.ts'
import { STAGE_BINDING } from './gatewayStage.ts'
import { PlainIssuer } from './plainIssuer.ts'

const suites = createNodeSuites()

/** An issuer's enclave: the keys that wallets seal to. */
export function bootStagedIssuer(): Promise<Enclave> {
  const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now })
  return bootEnclave('issuer', STAGE_BINDING, attester, suites)
}

/** The gateways' way to the issuer: it opens what wallets sealed to it, and does the arithmetic. */
export class StagedIssuer implements IssuerClient {
  readonly enclave: Hex
  readonly plain: PlainIssuer = new PlainIssuer()
  readonly #keys: Enclave['keys']
  readonly #opened = new Map<Hex, OpenedPayment>()
  /** Units of all captures. */
  charged: bigint = 0n
  captures: number = 0

  constructor({ statement, keys }: Enclave) {
    this.enclave = statement.enclave
    this.#keys = keys
  }

  async reserve(sealed: Uint8Array): Promise<ReserveAnswer> {
    const opened = await openPayment(suites, this.#keys, sealed).catch(() => {
      throw new IssuerRefusal('BAD_PAYMENT', 'refused')
    })
    if (!this.#opened.has(opened.id)) {
      try {
        this.plain.reserve(opened.payment)
      } catch (error) {
        throw new IssuerRefusal((error as Error).message, 'refused')
      }
      this.#opened.set(opened.id, opened)
    }
    const expiresAt = BigInt(Math.floor(Date.now() / 1000) + 600)
    return { payment: opened.id, maximumFee: opened.payment.maximumFee, expiresAt }
  }

  async renew(): Promise<RenewAnswer> {
    return { expiresAt: BigInt(Math.floor(Date.now() / 1000) + 600) }
  }

  async capture(payment: Hex, fee: bigint): Promise<CaptureAnswer> {
    const opened = this.#opened.get(payment)
    if (opened === undefined) throw new IssuerRefusal('UNKNOWN_PAYMENT', 'refused')
    const change = this.plain.capture(opened.payment, fee)
    this.captures++
    this.charged += fee
    return { fee, sealedChange: await opened.sealChange(change, (length) => new Uint8Array(randomBytes(length))) }
  }
}
