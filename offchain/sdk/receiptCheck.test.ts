/** Gateways that cheat: whatever does not fit what the client itself sent, read and derived is refused before the answer counts as complete. @module */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { encodeUtf8, toHex } from '#protocol/bytes.ts'
import { hashPriceList, type PricedModel, serializePriceList } from '#protocol/prices.ts'
import { signHead } from '#protocol/receipt/head.ts'
import { hashName, hashPrivateReceipt, hashPublicReceipt, receiptLeaf } from '#protocol/receipt/receipt.ts'
import { parseReceiptMessage, type ReceiptMessage, serializeReceiptMessage } from '#protocol/wire/receiptFile.ts'
import {
  ask,
  changingReceipt,
  codeOf,
  ExchangeStage,
  flip,
  type Network,
  PRICE,
  type Tamper,
} from '../../test/support/exchangeStage.ts'
import { STAGE_BINDING, sayHello } from '../../test/support/gatewayStage.ts'
import { type CheckedExchange, ReceiptCheck } from './receiptCheck.ts'

let stage: ExchangeStage
beforeEach(async () => {
  stage = await ExchangeStage.start()
})
afterEach(() => stage.close())

test('16,777,216 bytes of an answer are kept to be checked, and not one more', async () => {
  const { access, gateway } = await stage.network()
  const exchange = { head: { status: 200, headers: [] } } as unknown as CheckedExchange
  const check = new ReceiptCheck(access, gateway, undefined, exchange)
  const whole = new Uint8Array(16_777_216)
  expect(check.take(whole)).toBe(whole)
  expect(() => check.take(new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'ANSWER_CUT' }))
})

describe('a gateway that cheats', () => {
  const CHANGES: readonly (readonly [string, string, (receipt: ReceiptMessage) => unknown])[] = [
    ['the enclave', 'PATH_MISMATCH', (r) => ({ ...r, public: { ...r.public, enclave: flip(r.public.enclave) } })],
    ['the model', 'PATH_MISMATCH', (r) => ({ ...r, public: { ...r.public, model: flip(r.public.model) } })],
    ['the output', 'PATH_MISMATCH', (r) => ({ ...r, public: { ...r.public, output: flip(r.public.output) } })],
    ['the fee', 'PATH_MISMATCH', (r) => ({ ...r, private: { ...r.private, fee: '2' } })],
    ['the root', 'PATH_MISMATCH', (r) => ({ ...r, head: { ...r.head, root: flip(r.head.root) } })],
    ['the index', 'INDEX_OUT_OF_RANGE', (r) => ({ ...r, index: '1' })],
    ['the path', 'PATH_MISMATCH', (r) => ({ ...r, path: [r.head.root] })],
    [
      'the signature',
      'HEAD_NOT_SIGNED',
      (r) => ({ ...r, head: { ...r.head, signature: { ...r.head.signature, r: flip(r.head.signature.r) } } }),
    ],
    ['the chain', 'HEAD_NOT_SIGNED', (r) => ({ ...r, chainId: 1 })],
    ['the registry', 'WRONG_SETTLEMENT', (r) => ({ ...r, registry: flip(r.registry) })],
    ['the settlement contract', 'HEAD_NOT_SIGNED', (r) => ({ ...r, settlement: flip(r.settlement) })],
    ['its form', 'MALFORMED', (r) => ({ ...r, path: 'none' })],
    ['everything', 'MALFORMED', () => null],
  ]

  test.each(CHANGES)('in the receipt is caught before the body ends: %s', async (_what, reason, change) => {
    const network = await stage.network(sayHello, changingReceipt(change))
    const { response, receipt } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', reason])
    expect(await codeOf(receipt)).toEqual(['RECEIPT_REJECTED', reason])
  })

  /** What a cheating enclave would do: change the receipt and sign the log anew. The first receipt of a log is its root. */
  async function signingAnew(change: (receipt: ReceiptMessage) => ReceiptMessage): Promise<Network> {
    const network = await stage.network()
    const { statement, privateKey } = network.staged.enclave
    network.staged.inside = changingReceipt((plain) => {
      const receipt = change(parseReceiptMessage(JSON.stringify(plain)))
      const root = toHex(receiptLeaf(hashPublicReceipt(receipt.public), hashPrivateReceipt(receipt.private)))
      const head = { kind: 'log', enclave: statement.enclave, size: 1n, root } as const
      const { signature } = signHead(head, STAGE_BINDING, privateKey)
      return JSON.parse(serializeReceiptMessage({ ...receipt, head: { size: 1n, root, signature } }))
    })
    return network
  }

  test('in nothing but signing anew is not caught: the change is what counts', async () => {
    const { response, receipt } = await ask(await signingAnew((plain) => plain))
    await response.text()
    expect((await receipt).file.head.size).toBe(1n)
  })

  test.each<[string, (receipt: ReceiptMessage) => ReceiptMessage]>([
    ['WRONG_REQUEST', (r) => ({ ...r, private: { ...r.private, encapsulated: flip(r.private.encapsulated) } })],
    ['WRONG_MODEL', (r) => ({ ...r, public: { ...r.public, model: hashName('a cheaper model') } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, public: { ...r.public, output: flip(r.public.output) } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, public: { ...r.public, request: flip(r.public.request) } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, public: { ...r.public, nonce: flip(r.public.nonce) } })],
    ['COMMITMENT_MISMATCH', (r) => ({ ...r, private: { ...r.private, toolCalls: flip(r.private.toolCalls) } })],
  ])('with the key of the enclave is caught: %s', async (reason, change) => {
    const { response } = await ask(await signingAnew(change))
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', reason])
  })

  test.each<[string | undefined, Partial<PricedModel>, (receipt: ReceiptMessage) => ReceiptMessage]>([
    [undefined, {}, (r) => r],
    [undefined, {}, (r) => ({ ...r, private: { ...r.private, fee: 2n } })],
    ['FEE_TOO_HIGH', {}, (r) => ({ ...r, private: { ...r.private, fee: 4n } })],
    ['WRONG_PRICES', { requestUnits: 2n }, (r) => r],
    ['WRONG_PRICES', {}, (r) => ({ ...r, private: { ...r.private, prices: flip(r.private.prices) } })],
    ['WRONG_SOURCE', {}, (r) => ({ ...r, public: { ...r.public, source: 'measured' } })],
    ['WRONG_SOURCE', {}, (r) => ({ ...r, public: { ...r.public, origin: hashName('models.example') } })],
  ])('on what it said that it serves and charges is caught: %s', async (reason, told, change) => {
    const network = await signingAnew(change)
    const price = { ...PRICE, ...told }
    const list = serializePriceList({ format: 'sealpath-prices/1', models: [price] })
    const terms = { prices: new Map([['demo', price]]), pricesHash: hashPriceList(list), contexts: new Map() }
    const { response } = await ask(network, {}, {}, { terms })
    if (reason === undefined) expect(await response.text()).toContain('[DONE]')
    else expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', reason])
  })

  test('never gets an answer taken for complete: the end of the stream comes only once the receipt is verified', async () => {
    const endOf = async (tamper?: Tamper): Promise<string> => {
      const { response } = await ask(await stage.network(sayHello, tamper))
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      try {
        for (let next = await reader?.read(); next?.value !== undefined; next = await reader?.read()) text += next.value
      } catch {
        // What came before is looked at.
      }
      return text
    }
    expect(await endOf()).toMatch(/Hel.*lo.*data: \[DONE\]\n\n$/s)
    const cheated = await endOf(changingReceipt((r) => ({ ...r, private: { ...r.private, fee: '2' } })))
    expect(cheated).toMatch(/Hel.*lo/s)
    expect(cheated).not.toContain('[DONE]')
  })

  test('with the receipt of another exchange is caught', async () => {
    let first: readonly (readonly [string, string])[] | undefined
    const network = await stage.network(sayHello, (response) => ({
      ...response,
      trailers: async () => {
        const own = (await response.trailers?.()) ?? []
        first ??= own
        return first
      },
    }))
    const own = await ask(network)
    await own.response.text()
    const { response } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'COMMITMENT_MISMATCH'])
  })

  test('by another answer than the receipt states is caught', async () => {
    const network = await stage.network(sayHello, (response) => ({ ...response, body: encodeUtf8('{"choices":[]}') }))
    const { response } = await ask(network, { stream: false })
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'COMMITMENT_MISMATCH'])
  })

  test.each([200, 201, 203, 299])('by leaving the receipt out is caught, also under status %s', async (status) => {
    const network = await stage.network(sayHello, (response) => ({
      ...response,
      status,
      trailers: () => [['other', 'x']],
    }))
    const { response, receipt } = await ask(network)
    expect(await codeOf(response.text())).toEqual(['RECEIPT_MISSING', undefined])
    expect(await codeOf(receipt)).toEqual(['RECEIPT_MISSING', undefined])
  })

  test('as another enclave than the one that was chosen is caught', async () => {
    const network = await stage.network()
    const gateway = { ...network.gateway, enclave: flip(network.gateway.enclave) }
    const { response } = await ask({ ...network, gateway })
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'WRONG_ENCLAVE'])
  })

  test.each([
    ['settlement', { settlement: flip(STAGE_BINDING.settlement) }],
    ['chain', { chainId: 1 }],
  ])('for another %s is caught', async (_what, fields) => {
    const network = await stage.network()
    const { response } = await ask({ ...network, access: { ...network.access, ...fields } })
    expect(await codeOf(response.text())).toEqual(['RECEIPT_REJECTED', 'WRONG_SETTLEMENT'])
  })

  test.each([204, 205, 304])('with a head that is no response is refused: %s', async (status) => {
    const network = await stage.network(sayHello, (response) => ({ ...response, status }))
    expect(await codeOf(ask(network))).toEqual(['ANSWER_CUT', undefined])
  })
})
