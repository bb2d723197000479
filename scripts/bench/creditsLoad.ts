/**
 * Payments for scripts/bench/credits.ts, whole and sealed before the clock starts: what a wallet pays out of a deposit of ten OPG, request by request,
 * as far as it is eight credits.
 * @module
 */
import { normalizeZ } from '@noble/curves/abstract/curve.js'
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { type CreditSigner, createSigner } from '#node/credits/fastSigner.ts'
import { hashToPoint } from '#node/credits/mclPoints.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { encodeUint, encodeUtf8, type Hex, toBase64, toHex } from '#protocol/bytes.ts'
import { BLANK_SLOTS, CREDIT_SLOTS, chooseCredits, splitChange } from '#protocol/credits/amounts.ts'
import { creditMessage } from '#protocol/credits/message.ts'
import type { Payment } from '#protocol/credits/payment.ts'
import { G1_BYTES } from '#protocol/credits/points.ts'
import { splitDeposit } from '#protocol/credits/purchase.ts'
import { type SealedPayment, sealPayment } from '#protocol/credits/sealedPayment.ts'
import { keccak256 } from '#protocol/hash.ts'
import { feeRoundedUp, type PricedModel } from '#protocol/prices.ts'
import { signDigest } from '#protocol/receipt/head.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { type SealedWholeRequest, sealWholeRequest } from '#protocol/sealing/wholeExchange.ts'
import { hashCapture, hashReserve } from '#protocol/wire/issuerApi.ts'
import { toJson } from '#protocol/wire/json.ts'
import { DOMAIN } from '../../test/support/issuerStage.ts'
import type { BenchedIssuer } from './creditsIssuer.ts'

export type PreparedPayment = {
  readonly payment: Payment
  readonly fee: bigint
  readonly reserve: SealedWholeRequest
  readonly capture: SealedWholeRequest
  readonly openChange: SealedPayment['openChange']
}

export type PaymentMaker = () => Promise<PreparedPayment>

/** Makes one payment after the other. `enclave` is the gateway's address, `privateKey` its key. */
export async function createPaymentMaker(
  issuer: BenchedIssuer,
  enclave: Hex,
  privateKey: Uint8Array,
): Promise<PaymentMaker> {
  const suites = createNodeSuites()
  const [config] = parseKeyConfigList(issuer.keys)
  if (config === undefined) throw new Error('the issuer offers no key')
  const signer = await createSigner(issuer.secretKeys)
  const plan = planPayments()
  const seal = (path: string, body: unknown) => {
    const inner = { method: 'POST' as const, authority: 'issuer', path, body: encodeUtf8(toJson(body)) }
    return sealWholeRequest(suites, config, { ...inner, now: new Date() })
  }
  return async () => {
    const { exponents, maximumFee, fee } = plan()
    const credits = makeCredits(signer, issuer.keyset, exponents)
    const payment: Payment = { keyset: issuer.keyset, enclave, maximumFee, credits, blanks: makeBlanks() }
    // Payments and the gateway's calls are sealed for the same key of the issuer's enclave.
    const { sealed, id, openChange } = await sealPayment(suites, config, payment)
    const reserve = hashReserve({ gateway: enclave, payment: toHex(keccak256(sealed)) }, DOMAIN)
    const capture = hashCapture({ payment: id, fee }, DOMAIN)
    return {
      payment,
      fee,
      reserve: await seal('/v1/reserve', {
        gateway: enclave,
        sealedPayment: toBase64(sealed),
        signature: signDigest(reserve, privateKey),
      }),
      capture: await seal('/v1/capture', { payment: id, fee, signature: signDigest(capture, privateKey) }),
      openChange,
    }
  }
}

type PlannedPayment = { readonly exponents: readonly number[]; readonly maximumFee: bigint; readonly fee: bigint }

/** 0.0001 OPG a request, 0.5 and 1.5 OPG per million tokens: the demo's prices. */
const PRICE: PricedModel = {
  model: 'bench',
  source: 'measured',
  requestUnits: 100n,
  promptUnitsPerMillion: 500_000n,
  completionUnitsPerMillion: 1_500_000n,
}

/** Requests of 200 to 20,000 bytes that allow 256 to 4,096 tokens and use a part of them; the same sequence in every run. */
function planPayments(): () => PlannedPayment {
  const draw = pseudoRandom()
  let wallet = splitDeposit(10_000_000n)
  const next = (): PlannedPayment => {
    const bytes = Math.floor(200 * 100 ** draw())
    const tokensMax = 256 << Math.floor(5 * draw())
    const maximumFee = feeRoundedUp(PRICE, { promptTokens: bytes, completionTokens: tokensMax })
    const usage = { promptTokens: Math.ceil(bytes / 4), completionTokens: Math.ceil(tokensMax * draw()) }
    const fee = feeRoundedUp(PRICE, usage)
    const choice = chooseCredits(wallet, maximumFee)
    if (!choice.ok) {
      wallet = splitDeposit(10_000_000n)
      return next()
    }
    const spent = new Set(choice.indices)
    const exponents = wallet.filter((_, i) => spent.has(i))
    wallet = [...wallet.filter((_, i) => !spent.has(i)), ...splitChange(exponents, fee)]
    return exponents.length === CREDIT_SLOTS ? { exponents, maximumFee, fee } : next()
  }
  return next
}

function pseudoRandom(): () => number {
  let state = 12_345
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x85ebca6b) + 0x9e3779b9) >>> 0
    return state / 2 ** 32
  }
}

function makeCredits(signer: CreditSigner, keyset: Hex, exponents: readonly number[]): Payment['credits'] {
  const credits = exponents.map((exponent) => {
    const secret = randomBytes(32)
    const exitKey = toHex(randomBytes(20))
    const point = hashToPoint(creditMessage({ ...DOMAIN, keyset }, exitKey, secret))
    return { exponent, secret, exitKey, blinded: point.serialize() }
  })
  const signatures = signer.signBlanks(credits)
  return credits.map(({ exponent, secret, exitKey }, i) => ({
    exponent,
    secret,
    exitKey,
    signature: signatures[i] ?? new Uint8Array(),
  }))
}

const { BASE } = bls12_381.G1.Point
const { Fp } = bls12_381.fields
let walked = BASE.multiply(0x5ea1n)

/** Points one after the other: to the issuer they look like any. Encoded here, as the package would check again that each is in the subgroup. */
function makeBlanks(): Uint8Array[] {
  const points = Array.from({ length: BLANK_SLOTS }, () => {
    walked = walked.add(BASE)
    return walked
  })
  return normalizeZ(bls12_381.G1.Point, points).map((point) => {
    const { x, y } = point.toAffine()
    const bytes = encodeUint(x, G1_BYTES)
    bytes[0] = (bytes[0] ?? 0) | 0x80 | (2n * y > Fp.ORDER ? 0x20 : 0)
    return bytes
  })
}

function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length))
}
