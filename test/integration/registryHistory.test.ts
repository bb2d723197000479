/** What the registry answers can be rebuilt from nothing but its events, whatever happened before. @module */
import { getAddress } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { enclaveRegistryAbi, receiptSettlementAbi } from '#chain/generated/abis.ts'
import { type Hex, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { signHead } from '#protocol/receipt/head.ts'
import {
  deployLocal,
  depositBond,
  type LocalChain,
  registerTestEnclave,
  TEST_MEASUREMENT,
  type TestAccount,
} from '../support/chain.ts'
import { type RegistryHistory, readRegistryHistory } from '../support/registryHistory.ts'

const GATEWAY = 1
const DAY = 86_400
const NO_KEY = `0x${'00'.repeat(32)}`

let chain: LocalChain
const known: { readonly enclave: Hex; readonly privateKey: Uint8Array }[] = []

beforeAll(async () => {
  chain = await deployLocal()
})
afterAll(() => chain.close())

it('is the same as what the registry answers, after 120 random actions', async () => {
  const next = generator(7)
  const done = new Map<string, number>()
  for (let i = 0; i < 120; i++) {
    const name = ACTION_NAMES[next(ACTION_NAMES.length)] ?? 'register'
    if (await ACTIONS[name](next)) done.set(name, (done.get(name) ?? 0) + 1)
  }
  expect([...done.keys()].sort()).toEqual([...ACTION_NAMES].sort())
  const toBlock = await chain.client.getBlockNumber()
  const history = await readRegistryHistory(chain.client, chain.addresses.registry, { fromBlock: 0n, toBlock })
  expect(history.enclaves.size).toBe(known.length)
  for (const { enclave } of known) await expectSameEnclave(history, enclave)
  for (const account of ['operator', 'stranger'] as const) await expectSameBond(history, account)
  expect(history.slashed).toBe(await read('slashed', []))
  expect(history.approved.has(`${GATEWAY}:${TEST_MEASUREMENT}`)).toBe(
    await read('isApproved', [GATEWAY, TEST_MEASUREMENT]),
  )
})

async function expectSameEnclave(history: RegistryHistory, enclave: Hex): Promise<void> {
  const entry = await chain.client.readContract({ ...registry(), functionName: 'enclaveOf', args: [enclave] })
  const keys = await chain.client.readContract({ ...registry(), functionName: 'keyConfigsOf', args: [enclave] })
  const rebuilt = history.enclaves.get(enclave)
  expect(rebuilt).toMatchObject({
    operator: entry.operator.toLowerCase(),
    role: entry.role,
    measurement: entry.measurement,
    isDevelopment: entry.isDevelopment,
    endsAt: entry.endsAt,
    isCompromised: entry.isCompromised,
    isBonded: entry.isBonded,
  })
  expect(rebuilt?.keyConfigs).toEqual(keys.map((key) => (key.hash === NO_KEY ? undefined : key)))
}

async function expectSameBond(history: RegistryHistory, account: TestAccount): Promise<void> {
  const address = chain.account(account).address
  const bond = await chain.client.readContract({ ...registry(), functionName: 'bondOf', args: [address] })
  expect(history.bonds.get(address.toLowerCase() as Hex) ?? { deposited: 0n, locked: 0n }).toEqual(bond)
}

type Next = (below: number) => number

/** Each answers whether it could be done. */
const ACTIONS = {
  async register() {
    const privateKey = keccak256(Uint8Array.of(0x11, known.length))
    const { enclave } = await registerTestEnclave(chain, privateKey)
    known.push({ enclave, privateKey })
    return true
  },
  async renew(next: Next) {
    const one = pick(next)
    if (one === undefined) return false
    return registerTestEnclave(chain, one.privateKey).then(
      () => true,
      () => false,
    )
  },
  async retire(next: Next) {
    const one = pick(next)
    return one !== undefined && attempt('operator', 'retire', [one.enclave])
  },
  async announce(next: Next) {
    const one = pick(next)
    if (one === undefined) return false
    const hash = toHex(keccak256(Uint8Array.of(next(256), next(256))))
    const { chainId, registry: verifyingContract } = chain.addresses
    const signature = await privateKeyToAccount(toHex(one.privateKey)).signTypedData({
      domain: { name: 'Sealpath EnclaveRegistry', version: '1', chainId, verifyingContract },
      types: {
        KeyConfigs: [
          { name: 'enclave', type: 'address' },
          { name: 'hash', type: 'bytes32' },
        ],
      },
      primaryType: 'KeyConfigs',
      message: { enclave: getAddress(one.enclave), hash },
    })
    return attempt('stranger', 'announceKeyConfigs', [one.enclave, hash, signature])
  },
  async revokeAndInvalidate(next: Next) {
    const one = pick(next)
    if (one === undefined) return false
    await attempt('deployer', 'revokeMeasurement', [GATEWAY, TEST_MEASUREMENT])
    return attempt('stranger', 'invalidate', [one.enclave])
  },
  async report(next: Next) {
    const one = pick(next)
    if (one === undefined) return false
    const { chainId, settlement } = chain.addresses
    const signed = ['aa', 'bb'].map((byte) => {
      const head = { kind: 'log', enclave: one.enclave, size: 1n, root: `0x${byte.repeat(32)}` } as const
      const { signature } = signHead(head, { chainId, settlement }, one.privateKey)
      return { enclave: one.enclave, kind: 0, size: 1n, root: head.root, fees: 0n, ...signature }
    })
    const [a, b] = signed
    if (a === undefined || b === undefined) return false
    const hash = await chain.wallet('stranger').writeContract({
      address: settlement,
      abi: receiptSettlementAbi,
      functionName: 'reportContradiction',
      args: [a, b],
    })
    await chain.client.waitForTransactionReceipt({ hash })
    return true
  },
  async release(next: Next) {
    const one = pick(next)
    return one !== undefined && attempt('stranger', 'releaseBond', [one.enclave])
  },
  async deposit(next: Next) {
    await depositBond(chain, chain.account('stranger').address, BigInt(1 + next(1_000)))
    return true
  },
  withdraw: (next: Next) => attempt('stranger', 'withdrawBond', [BigInt(1 + next(1_000))]),
  insure: () => attempt('stranger', 'insureSlashed', []),
  async wait(next: Next) {
    await chain.control.increaseTime({ seconds: (1 + next(6)) * DAY })
    await chain.control.mine({ blocks: 1 })
    return true
  },
}
type ActionName = keyof typeof ACTIONS
const ACTION_NAMES = Object.keys(ACTIONS) as ActionName[]

function registry() {
  return { address: chain.addresses.registry, abi: enclaveRegistryAbi } as const
}

function read(functionName: 'slashed' | 'isApproved', args: readonly unknown[]): Promise<unknown> {
  return chain.client.readContract({ ...registry(), functionName, args } as never)
}

/** Sends a call of the registry; false when it refuses. */
async function attempt(account: TestAccount, functionName: string, args: readonly unknown[]): Promise<boolean> {
  try {
    const hash = await chain.wallet(account).writeContract({ ...registry(), functionName, args } as never)
    const { status } = await chain.client.waitForTransactionReceipt({ hash })
    return status === 'success'
  } catch {
    // A refusal is one of the things that happen; the state is compared all the same.
    return false
  }
}

function pick(next: Next): (typeof known)[number] | undefined {
  return known[next(Math.max(1, known.length))]
}

/** A small reproducible generator (mulberry32). */
function generator(seed: number): Next {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
