/** Who is handed a keyset, and from whom one is taken: every check alone, with real evidence. @module */
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import type { Enclave } from '#node/enclave/enclave.ts'
import { encodeUtf8, type Hex, toBase64, toHex } from '#protocol/bytes.ts'
import { type HandedKeyset, openHandover, sealHandover } from '#protocol/credits/sealedHandover.ts'
import { isSuccessionBy, signSuccession } from '#protocol/credits/succession.ts'
import { keccak256 } from '#protocol/hash.ts'
import { parseKeyConfigList } from '#protocol/sealing/keyConfig.ts'
import { HandoverRequestSchema } from '#protocol/wire/handoverApi.ts'
import { parseJson, toJson } from '#protocol/wire/json.ts'
import type { HandoverTaker } from '../../offchain/issuer/handoverTaker.ts'
import type { SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import { ownMeasurement } from '../../offchain/issuer/peerEnclave.ts'
import {
  BINDING,
  bootIssuerEnclave,
  type EnclaveOptions,
  evidenceOf,
  giverOf,
  idOf,
  register,
  requestOf,
  SUITES,
  serveEnclave,
  takerOf,
} from '../support/issuerEnclave.ts'
import { DOMAIN, makeKeyset, StagedChain, type StagedIssuer, until } from '../support/issuerStage.ts'

let giver: Enclave
let keyset: SecretKeyset
const closers: (() => Promise<void>)[] = []

beforeAll(async () => {
  giver = await bootIssuerEnclave()
  keyset = makeKeyset()
})
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** The giver that has the keyset and writes it, and somebody who asks. */
async function stageOf(options: EnclaveOptions = {}): Promise<{ chain: StagedChain; taker: Enclave }> {
  const chain = new StagedChain()
  chain.name(keyset.id, idOf(giver))
  const taker = await bootIssuerEnclave(options)
  register(chain, taker)
  return { chain, taker }
}

const keysets = () => [keyset]
const open = (enclave: Enclave, sealed: Uint8Array) => openHandover(SUITES, enclave.keys, sealed)

describe('a giver', () => {
  it('hands its keysets to an attested issuer of its operator, which alone can open them, and names it a successor', async () => {
    const { chain, taker } = await stageOf()
    const { sealed } = await giverOf(giver, { chain, keysets })(requestOf(taker, giver))
    const [handed] = await open(taker, sealed)
    const { signUntil, spendUntil, exitUntil } = keyset.keyset
    expect(handed).toMatchObject({ keyset: keyset.id, signUntil, spendUntil, exitUntil })
    expect(handed?.secretKeys.map(toHex)).toEqual(keyset.secretKeys.map(toHex))
    const succession = { keyset: keyset.id, successor: idOf(taker) }
    const { r, vs } = handed?.succession ?? { r: '0x', vs: '0x' }
    expect(isSuccessionBy(idOf(giver), succession, DOMAIN, { r, vs })).toBe(true)
    await expect(open(giver, sealed)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
    const flipped = sealed.slice()
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1
    await expect(open(taker, flipped)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
  })

  it('hands over to other code only where its configuration lists it', async () => {
    const { chain, taker } = await stageOf({ code: 2 })
    const refused = giverOf(giver, { chain, keysets })(requestOf(taker, giver))
    await expect(refused).rejects.toMatchObject({
      code: 'EVIDENCE_REFUSED',
      message: expect.stringContaining('MEASUREMENT_NOT_ACCEPTED') as string,
    })
    const successors = [ownMeasurement('development', evidenceOf(taker))]
    const { sealed } = await giverOf(giver, { chain, keysets, successors })(requestOf(taker, giver))
    expect(await open(taker, sealed)).toHaveLength(1)
  })

  it('names nobody a successor who was a writer before: both words together would swap the writer for ever', async () => {
    const { chain, taker } = await stageOf()
    chain.named.set(keyset.id, [idOf(taker), idOf(giver)])
    const { sealed } = await giverOf(giver, { chain, keysets })(requestOf(taker, giver))
    const [handed] = await open(taker, sealed)
    expect(handed?.keyset).toBe(keyset.id)
    expect(handed?.succession).toBeUndefined()
  })

  it.each([
    ['a gateway', 'WRONG_ROLE', { role: 'gateway' }],
    ['another chain', 'OTHER_NETWORK', { binding: { chainId: 1 } }],
    ['another registry', 'OTHER_NETWORK', { binding: { registry: `0x${'aa'.repeat(20)}` } }],
    ['another settlement', 'OTHER_NETWORK', { binding: { settlement: `0x${'aa'.repeat(20)}` } }],
    ["another operator's issuer", 'OTHER_OPERATOR', { binding: { operator: `0x${'aa'.repeat(20)}` } }],
    ['stale evidence', 'EVIDENCE_REFUSED', { ageSeconds: 7_300 }],
    ['evidence of the future', 'EVIDENCE_REFUSED', { ageSeconds: -400 }],
    ['evidence under another root', 'EVIDENCE_REFUSED', { root: createDevelopmentRoot(1_700_000_000) }],
    ['an enclave in debug mode', 'EVIDENCE_REFUSED', { code: 0 }],
  ] as const)('gives nothing to %s', async (_, code, options) => {
    const { chain, taker } = await stageOf(options as EnclaveOptions)
    await expect(giverOf(giver, { chain, keysets })(requestOf(taker, giver))).rejects.toMatchObject({ code })
  })

  it('gives nothing to an enclave that the registry does not know, or knows otherwise', async () => {
    const { chain, taker } = await stageOf()
    const ask = () => giverOf(giver, { chain, keysets })(requestOf(taker, giver))
    const known = chain.issuers.get(idOf(taker))
    if (known === undefined) throw new Error('expected a registered taker')
    for (const entry of [
      undefined,
      { ...known, operator: `0x${'aa'.repeat(20)}` as Hex },
      { ...known, measurement: `0x${'aa'.repeat(32)}` as Hex },
    ]) {
      chain.issuers.delete(idOf(taker))
      if (entry !== undefined) chain.issuers.set(idOf(taker), entry)
      await expect(ask()).rejects.toMatchObject({ code: 'NOT_REGISTERED' })
    }
    chain.isSilent = true
    await expect(ask()).rejects.toThrow('the chain is silent')
    chain.isSilent = false
    chain.issuers.set(idOf(taker), known)
    await ask()
  })

  it('gives nothing for a request that its taker did not sign for this giver', async () => {
    const { chain, taker } = await stageOf()
    const other = await bootIssuerEnclave()
    const handover = giverOf(giver, { chain, keysets })
    const forOther = requestOf(taker, other)
    const forVault = requestOf(taker, giver, { ...DOMAIN, vault: BINDING.registry })
    const byOther = { ...requestOf(taker, giver), signature: requestOf(other, giver).signature }
    for (const request of [forOther, forVault, byOther]) {
      await expect(handover(request)).rejects.toMatchObject({ code: 'BAD_SIGNATURE' })
    }
  })

  it('gives nothing to key configurations, or for a document, that are not the ones attested', async () => {
    const { chain, taker } = await stageOf()
    const other = await bootIssuerEnclave()
    const handover = giverOf(giver, { chain, keysets })
    const request = requestOf(taker, giver)
    const { keyConfigs } = other
    await expect(handover({ ...request, keyConfigs })).rejects.toMatchObject({ code: 'BAD_SIGNATURE' })
    // Whoever holds the receipt key alone can sign for other sealing keys, which neither evidence nor an announcement binds.
    const statement = { ...request.evidence.statement, keyConfigs: other.statement.keyConfigs }
    const { signature } = requestOf({ ...taker, statement: { ...taker.statement, ...statement } }, giver)
    await expect(handover({ ...request, keyConfigs, signature })).rejects.toMatchObject({ code: 'WRONG_KEYS' })
    const swapped = { evidence: { ...request.evidence, statement }, keyConfigs, signature }
    await expect(handover(swapped)).rejects.toMatchObject({ code: 'STATEMENT_MISMATCH' })
    const { document } = evidenceOf(other)
    const borrowed = { ...request, evidence: { ...request.evidence, document } }
    await expect(handover(borrowed)).rejects.toMatchObject({ code: 'STATEMENT_MISMATCH' })
    const broken = request.evidence.document.slice()
    broken[broken.length - 1] = (broken.at(-1) ?? 0) ^ 1
    const tampered = { ...request, evidence: { ...request.evidence, document: broken } }
    await expect(handover(tampered)).rejects.toMatchObject({ code: 'EVIDENCE_REFUSED' })
    const unreadable = Uint8Array.of(0, 9, 1)
    const empty = { ...request.evidence.statement, keyConfigs: toHex(keccak256(unreadable)) }
    const { signature: signed } = requestOf({ ...taker, statement: { ...taker.statement, ...empty } }, giver)
    const unsealable = {
      evidence: { ...request.evidence, statement: empty },
      keyConfigs: unreadable,
      signature: signed,
    }
    await expect(handover(unsealable)).rejects.toMatchObject({ code: 'WRONG_KEYS' })
  })

  it('gives nothing before it has evidence itself', async () => {
    const { chain, taker } = await stageOf()
    const enclave = { ...giver, evidence: () => undefined }
    const handover = giverOf(giver, { chain, keysets, enclave })
    await expect(handover(requestOf(taker, giver))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('answers four at once and no more', async () => {
    const { chain, taker } = await stageOf()
    const handover = giverOf(giver, { chain, keysets })
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => handover(requestOf(taker, giver))))
    expect(results.map(({ status }) => status)).toEqual([...Array(4).fill('fulfilled'), 'rejected'])
    expect(results[4]).toMatchObject({ reason: { code: 'UNAVAILABLE' } })
    await handover(requestOf(taker, giver))
  })
})

/** What is behind the seal of a giver that may lie. */
type Answer = (request: ReturnType<typeof requestOf>) => Promise<unknown>

function answering(answer: Answer): StagedIssuer['handle'] {
  return async ({ path, body }) => {
    const request = parseJson(HandoverRequestSchema, new TextDecoder().decode(body), 'request')
    expect(path).toBe('/v1/handover')
    const value = await answer(request)
    const isRefusal = typeof value === 'object' && value !== null && 'error' in value
    return { status: isRefusal ? 403 : 200, headers: [], body: encodeUtf8(toJson(value)) }
  }
}

async function serve(enclave: Enclave, answer: Answer): Promise<string> {
  const served = await serveEnclave(enclave, answering(answer))
  closers.push(() => served.close())
  return served.url
}

function honest(enclave: Enclave, chain: StagedChain): Answer {
  const handover = giverOf(enclave, { chain, keysets })
  return async (request) => ({ sealed: toBase64((await handover(request)).sealed) })
}

/** A giver whose code is right and whose answer is not. */
function sending(change: (handed: HandedKeyset, taker: Hex) => HandedKeyset): Answer {
  return async ({ evidence, keyConfigs }) => {
    const { signUntil, spendUntil, exitUntil } = keyset.keyset
    const successor = evidence.statement.enclave
    const succession = signSuccession({ keyset: keyset.id, successor }, DOMAIN, giver.privateKey)
    const secretKeys = keyset.secretKeys.map((key) => key.slice())
    const handed = { keyset: keyset.id, signUntil, spendUntil, exitUntil, secretKeys, succession }
    const [config] = parseKeyConfigList(keyConfigs)
    if (config === undefined) throw new Error('expected a key')
    return { sealed: toBase64(await sealHandover(SUITES, config, [change(handed, successor)])) }
  }
}

type Took = { readonly taker: HandoverTaker; readonly keysets: SecretKeyset[]; readonly said: string[] }

function take(enclave: Enclave, chain: StagedChain, ...urls: string[]): Took {
  const taken: SecretKeyset[] = []
  const said: string[] = []
  const note = (event: string, fields?: Readonly<Record<string, unknown>>) =>
    void said.push(`${event} ${String(fields?.reason ?? '')}`.trim())
  const taker = takerOf(enclave, {
    chain,
    urls,
    async onKeyset(secret) {
      taken.push(secret)
    },
    log: { info: note, warn: note, error: note },
  })
  closers.push(() => taker.close())
  return { taker, keysets: taken, said }
}

describe('a taker', () => {
  it('takes keysets and the word of their writer, and is ready then', async () => {
    const { chain, taker: enclave } = await stageOf()
    const { taker, keysets: taken, said } = take(enclave, chain, await serve(giver, honest(giver, chain)))
    expect(taker.notReady).toContain('no issuer has handed over')
    await until(() => taker.notReady === undefined, 'a handover')
    expect(taken.map(({ id }) => id)).toEqual([keyset.id])
    expect(taken[0]?.secretKeys.map(toHex)).toEqual(keyset.secretKeys.map(toHex))
    const word = taker.successionBy(keyset.id, idOf(giver))
    if (word === undefined) throw new Error('expected a succession')
    expect(isSuccessionBy(idOf(giver), { keyset: keyset.id, successor: idOf(enclave) }, DOMAIN, word)).toBe(true)
    expect(said).toEqual(['handover taken'])
  })

  it.each([
    ['a gateway', 'WRONG_ROLE', { role: 'gateway' }],
    ['another chain', 'OTHER_NETWORK', { binding: { chainId: 1 } }],
    ["another operator's issuer", 'OTHER_OPERATOR', { binding: { operator: `0x${'aa'.repeat(20)}` } }],
    ['other code', 'EVIDENCE_REFUSED', { code: 2 }],
    ['stale evidence', 'EVIDENCE_REFUSED', { ageSeconds: 7_300 }],
    ['evidence under another root', 'EVIDENCE_REFUSED', { root: createDevelopmentRoot(1_700_000_000) }],
  ] as const)('asks nothing of %s', async (_, code, options) => {
    const { chain, taker: enclave } = await stageOf()
    const peer = await bootIssuerEnclave(options as EnclaveOptions)
    const unasked = () => Promise.reject(new Error('expected nothing to be asked'))
    const { taker, said } = take(enclave, chain, await serve(peer, unasked))
    await until(() => said.length > 0, 'a refusal')
    expect(said).toEqual([`no handover ${code}`])
    expect(taker.notReady).toContain(code)
  })

  it('believes other code where its configuration lists it', async () => {
    const { chain, taker: enclave } = await stageOf()
    const peer = await bootIssuerEnclave({ code: 2 })
    chain.name(keyset.id, idOf(peer))
    const successors = [ownMeasurement('development', evidenceOf(enclave))]
    const handover = giverOf(peer, { chain, keysets, successors })
    const url = await serve(peer, async (request) => ({ sealed: toBase64((await handover(request)).sealed) }))
    const predecessors = [ownMeasurement('development', evidenceOf(peer))]
    const taker = takerOf(enclave, { chain, urls: [url], predecessors })
    closers.push(() => taker.close())
    await until(() => taker.notReady === undefined, 'a handover')
  })

  it('takes no keys served that are not the ones attested', async () => {
    const { chain, taker: enclave } = await stageOf()
    const other = await bootIssuerEnclave()
    const unasked = () => Promise.reject(new Error('expected nothing to be asked'))
    const { said } = take(enclave, chain, await serve({ ...giver, keyConfigs: other.keyConfigs }, unasked))
    await until(() => said.length > 0, 'a refusal')
    expect(said).toEqual(['no handover WRONG_KEYS'])
  })

  it.each([
    [
      'keys of another keyset',
      'KEYS_MISMATCH',
      (handed: HandedKeyset) => ({ ...handed, secretKeys: handed.secretKeys.toReversed() }),
    ],
    [
      'other phases than the keyset has',
      'KEYS_MISMATCH',
      (handed: HandedKeyset) => ({ ...handed, exitUntil: handed.exitUntil + 1 }),
    ],
    [
      'keys of which no keyset can be made',
      'KEYS_MISMATCH',
      (handed: HandedKeyset) => ({ ...handed, secretKeys: handed.secretKeys.map(() => new Uint8Array(32).fill(1)) }),
    ],
    [
      'a succession that another enclave signed',
      'BAD_SUCCESSION',
      (handed: HandedKeyset, successor: Hex) => ({
        ...handed,
        succession: signSuccession({ keyset: keyset.id, successor }, DOMAIN, new Uint8Array(32).fill(9)),
      }),
    ],
    [
      'a succession for somebody else',
      'BAD_SUCCESSION',
      (handed: HandedKeyset) => ({
        ...handed,
        succession: signSuccession({ keyset: keyset.id, successor: idOf(giver) }, DOMAIN, giver.privateKey),
      }),
    ],
    [
      'a succession for another vault',
      'BAD_SUCCESSION',
      (handed: HandedKeyset, successor: Hex) => ({
        ...handed,
        succession: signSuccession(
          { keyset: keyset.id, successor },
          { ...DOMAIN, vault: BINDING.registry },
          giver.privateKey,
        ),
      }),
    ],
  ])('takes nothing of an answer with %s', async (_, code, change) => {
    const { chain, taker: enclave } = await stageOf()
    const { taker, keysets: taken, said } = take(enclave, chain, await serve(giver, sending(change)))
    await until(() => said.length > 0, 'a refusal')
    expect(said).toEqual([`no handover ${code}`])
    expect(taken).toEqual([])
    expect(taker.successionBy(keyset.id, idOf(giver))).toBeUndefined()
  })

  it('says which code it was refused with, and asks until it is given', async () => {
    const { chain, taker: enclave } = await stageOf()
    const answers: Answer[] = [async () => ({ error: { code: 'NOT_REGISTERED', message: 'no' } })]
    const url = await serve(giver, (request) => (answers.shift() ?? honest(giver, chain))(request))
    const { taker, said } = take(enclave, chain, url)
    await until(() => taker.notReady === undefined, 'a handover')
    expect(said).toEqual(['no handover REFUSED NOT_REGISTERED', 'handover taken'])
  })

  it('asks nobody before it has evidence', async () => {
    const { chain, taker: enclave } = await stageOf()
    const url = await serve(giver, honest(giver, chain))
    let evidence: ReturnType<Enclave['evidence']>
    const { taker, said } = take({ ...enclave, evidence: () => evidence }, chain, url)
    await until(() => said.length > 0, 'a refusal')
    expect(said).toEqual(['no handover NO_EVIDENCE'])
    evidence = enclave.evidence()
    await until(() => taker.notReady === undefined, 'a handover')
  })

  it('is not ready after another writer was named until that one has given its word, whom it asks at once', async () => {
    const { chain, taker: third } = await stageOf()
    const second = await bootIssuerEnclave()
    const first = await serve(giver, honest(giver, chain))
    const asked: string[] = []
    const answer = honest(second, chain)
    let mayAnswer = false
    const url = await serve(second, async (request) => {
      asked.push(request.evidence.statement.enclave)
      return mayAnswer ? answer(request) : { error: { code: 'UNAVAILABLE', message: 'not yet' } }
    })
    const { taker } = take(third, chain, first, url)
    await until(() => taker.notReady === undefined && asked.length > 0, 'the word of the first writer')
    chain.name(keyset.id, idOf(second))
    await until(() => taker.notReady !== undefined, 'another writer')
    expect(taker.notReady).toContain('no writer of these keysets has named this enclave')
    mayAnswer = true
    await until(() => taker.notReady === undefined, 'the word of the second writer')
    const word = taker.successionBy(keyset.id, idOf(second))
    if (word === undefined) throw new Error('expected a succession')
    const succession = { keyset: keyset.id, successor: idOf(third) }
    expect(isSuccessionBy(idOf(second), succession, DOMAIN, word)).toBe(true)
    expect(taker.successionBy(keyset.id, idOf(giver))).toBeDefined()
  })

  it('asks everybody again at once when the vault names another writer', async () => {
    const { chain, taker: enclave } = await stageOf()
    const second = await bootIssuerEnclave()
    const asked: string[] = []
    const counting = (giving: Enclave): Answer => {
      const answer = honest(giving, chain)
      return (request) => {
        asked.push(idOf(giving))
        return answer(request)
      }
    }
    const urls = [await serve(giver, counting(giver)), await serve(second, counting(second))]
    const { said } = take(enclave, chain, ...urls)
    await until(() => said.length === 2, 'two handovers')
    expect(said).toEqual(['handover taken', 'handover taken'])
    const before = asked.length
    chain.name(keyset.id, idOf(second))
    await until(() => asked.length === before + 2, 'both to be asked again')
    expect(new Set(asked.slice(before))).toEqual(new Set([idOf(giver), idOf(second)]))
  })

  it('asks again from time to time while nothing changes, and no more once it is the writer', async () => {
    const { chain, taker: enclave } = await stageOf()
    let asked = 0
    const answer = honest(giver, chain)
    const url = await serve(giver, (request) => {
      asked++
      return answer(request)
    })
    let polls = 0
    const counting = {
      async writers(id: Hex) {
        polls++
        return chain.writers(id)
      },
    }
    const taker = takerOf(enclave, { chain: counting, urls: [url], timing: { pollMs: 10, renewMs: 50 } })
    closers.push(() => taker.close())
    await until(() => asked >= 3, 'a third question')
    chain.name(keyset.id, idOf(enclave))
    const named = polls
    await until(() => polls > named + 2, 'its own name read')
    const [before, from] = [asked, polls]
    // Long enough for two more questions.
    await until(() => polls > from + 20, 'twenty polls')
    expect(asked).toBe(before)
  })
})
