/** A succession as the vault sees it: what TypeScript signs is what Solidity recovers, and telling the vault twice is no failure; and how an operator sends. @module */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { advanceKeyset } from '#chain/timelock.ts'
import type { Hex } from '#protocol/bytes.ts'
import { signSuccession } from '#protocol/credits/succession.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import type { SignedSuccession } from '#protocol/wire/handoverApi.ts'
import { connectChain } from '../../offchain/issuer/chainReader.ts'
import { encodeKeys, generateKeyset, type SecretKeyset } from '../../offchain/issuer/keysetKeys.ts'
import { connectRegistry, type RegistryAccess } from '../../offchain/operator/registration.ts'
import { takeOver } from '../../offchain/operator/successions.ts'
import {
  deployLocal,
  type LocalChain,
  registerTestEnclave,
  TEST_MEASUREMENT,
  type TestEnclave,
} from '../support/chain.ts'

const DAY = 86_400
let chain: LocalChain
let access: RegistryAccess
let keyset: SecretKeyset
let issuers: readonly TestEnclave[]
let gateway: TestEnclave

beforeAll(async () => {
  chain = await deployLocal()
  const { chainId, registry, vault } = chain.addresses
  access = await connectRegistry(chain.rpcUrl, registry, chain.keyOf('operator'))
  const enclaves: TestEnclave[] = []
  for (const byte of [0xa1, 0xa2, 0xa3]) {
    enclaves.push(await registerTestEnclave(chain, new Uint8Array(32).fill(byte), { role: ENCLAVE_ROLE.issuer }))
  }
  issuers = enclaves
  gateway = await registerTestEnclave(chain, new Uint8Array(32).fill(0xb1))
  const now = Math.floor(Date.now() / 1000)
  const times = { signUntil: now + DAY, spendUntil: now + 2 * DAY, exitUntil: now + 400 * DAY }
  keyset = generateKeyset({ chainId, vault }, times)
  const opening = { id: keyset.id, keys: encodeKeys(keyset.keyset), times, writer: issuer(0).enclave }
  const owner = { client: chain.client, wallet: chain.wallet('deployer'), ...chain.addresses }
  expect((await advanceKeyset(owner, opening)).state).toBe('done')
})
afterAll(() => chain.close())

function issuer(i: number): TestEnclave {
  const enclave = issuers[i]
  if (enclave === undefined) throw new Error('expected an issuer')
  return enclave
}

function word(from: TestEnclave, to: TestEnclave, vault: Hex = chain.addresses.vault): SignedSuccession {
  const succession = { keyset: keyset.id, successor: to.enclave }
  const domain = { chainId: chain.addresses.chainId, vault }
  return { ...succession, ...signSuccession(succession, domain, from.privateKey) }
}

const submit = (succession: SignedSuccession) => takeOver(access, chain.addresses.vault, succession)
const refusal = (reason: string) => ({ name: 'SuccessionError', message: expect.stringContaining(reason) as string })

async function readers() {
  const { chainId, registry, vault } = chain.addresses
  const rpcUrls = [chain.rpcUrl, `${chain.rpcUrl}/`]
  return connectChain({ rpcUrls, chainId, registry, vault, fromBlock: 0n })
}

it('an operator’s transactions that are made at once all arrive, also behind one that the chain refuses', async () => {
  const { client, wallet } = access
  const { address } = wallet.account
  const from = await client.getTransactionCount({ address })
  const send = (gas?: bigint) =>
    wallet.sendTransaction({ to: address, value: 0n, ...(gas === undefined ? {} : { gas }) })
  const sent = await Promise.allSettled([send(), send(1n), send(), send(), send()])
  expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled', 'fulfilled'])
  const hashes = sent.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
  const nonces = await Promise.all(hashes.map(async (hash) => (await client.getTransaction({ hash })).nonce))
  expect(nonces).toEqual([0, 1, 2, 3].map((i) => from + i))
})

describe('the vault', () => {
  it('refuses a word that the writer did not give, for this vault and this successor, and successors that are no issuer', async () => {
    await expect(submit(word(issuer(1), issuer(2)))).rejects.toMatchObject(refusal('VaultSuccessionNotSigned'))
    const otherVault = word(issuer(0), issuer(1), chain.addresses.registry)
    await expect(submit(otherVault)).rejects.toMatchObject(refusal('VaultSuccessionNotSigned'))
    const forOther = { ...word(issuer(0), issuer(1)), successor: issuer(2).enclave }
    await expect(submit(forOther)).rejects.toMatchObject(refusal('VaultSuccessionNotSigned'))
    await expect(submit(word(issuer(0), gateway))).rejects.toMatchObject(refusal('VaultSuccessorUnfit'))
  })

  it('takes the word of the present writer, once, and of the next one after it', async () => {
    const first = word(issuer(0), issuer(1))
    expect(await submit(first)).toMatchObject({ state: 'sent' })
    expect(await submit(first)).toEqual({ state: 'done' })
    expect(await submit(word(issuer(1), issuer(2)))).toMatchObject({ state: 'sent' })
    // Its time is over: it was the word of a writer before.
    await expect(submit(first)).rejects.toMatchObject(refusal('VaultSuccessionNotSigned'))
    const writers = await (await readers()).writers(keyset.id)
    expect(writers).toEqual(issuers.map(({ enclave }) => enclave))
  })
})

describe('the registry', () => {
  it('tells active issuers from everybody else, with operator and measurement', async () => {
    const chainReader = await readers()
    const operator = chain.account('operator').address.toLowerCase()
    expect(await chainReader.activeIssuer(issuer(0).enclave)).toEqual({ operator, measurement: TEST_MEASUREMENT })
    expect(await chainReader.activeIssuer(gateway.enclave)).toBeUndefined()
    expect(await chainReader.activeIssuer(`0x${'99'.repeat(20)}`)).toBeUndefined()
  })
})

it('a chain that does not answer is a failure to be tried again', async () => {
  const dead = { ...access, client: (await connectDead()).client }
  await expect(takeOver(dead, chain.addresses.vault, word(issuer(0), issuer(1)))).rejects.toMatchObject({
    code: 'RPC_FAILED',
    retryable: true,
  })
})

async function connectDead(): Promise<Pick<RegistryAccess, 'client'>> {
  const { createPublicClient, http } = await import('viem')
  return { client: createPublicClient({ transport: http('http://127.0.0.1:9', { retryCount: 0 }) }) }
}
