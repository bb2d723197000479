/** The chain reader over JSON-RPC endpoints that answer what the test says, contradictions included. @module */
import { createServer, type Server } from 'node:http'
import { decodeFunctionData, encodeAbiParameters, encodeEventTopics, encodeFunctionResult, parseAbi } from 'viem'
import { afterEach, describe, expect, it } from 'vitest'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import type { Hex } from '#protocol/bytes.ts'
import { connectChain } from './chainReader.ts'

const KEYSET: Hex = `0x${'aa'.repeat(32)}`
const OTHER: Hex = `0x${'bb'.repeat(32)}`
const REGISTRY: Hex = `0x${'01'.repeat(20)}`
const VAULT: Hex = `0x${'02'.repeat(20)}`
const CLAIM_KEY: Hex = `0x${'03'.repeat(20)}`
const GATEWAY: Hex = `0x${'04'.repeat(20)}`
const WRITERS = [`0x${'05'.repeat(20)}`, `0x${'06'.repeat(20)}`] as const satisfies readonly Hex[]

const ABI = parseAbi([
  'struct Deposit { address payer; uint40 depositedAt; uint40 requestedAt; uint8 size; uint8 state; }',
  'struct KeysetTimes { uint40 signUntil; uint40 spendUntil; uint40 exitUntil; }',
  'function depositOf(bytes32 keyset, address claimKey) view returns (Deposit)',
  'event KeysetOpened(bytes32 indexed keyset, address indexed writer, uint16 number, KeysetTimes times, bytes keys)',
  'event KeysetTakenOver(bytes32 indexed keyset, address indexed writer)',
  'event ExitsOpened(bytes32 indexed keyset, address indexed recipient, uint40 readyAt, bytes32[] credits, bytes exponents)',
])

type Endpoint = {
  chainId?: number
  final?: number
  hash?: Hex
  deposit?: { size: number; state: number }
  standing?: readonly [number, number]
  operator?: Hex
  writers?: readonly (readonly [Hex, Hex])[]
  /** Where each of them was named; all in block 1 unless told. */
  writerBlocks?: readonly number[]
  /** Blocks that it answers with logs of at once; any number unless told. */
  rangeMax?: number
  /** First blocks of the ranges that it answered. */
  ranges?: number[]
  exits?: readonly Hex[]
  /** Where they were opened; block 1 unless told. */
  exitBlock?: number
  isDown?: boolean
  time?: number
  calls?: number
}

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

async function serve(endpoint: Endpoint): Promise<string> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      if (endpoint.isDown) {
        response.writeHead(400).end()
        return
      }
      const call = JSON.parse(Buffer.concat(parts).toString()) as { id: number; method: string; params: unknown[] }
      const isTooMuch = call.method === 'eth_getLogs' && !hasRange(endpoint, call.params)
      const error = { code: -32_602, message: 'block range too large' }
      const answered = isTooMuch ? { error } : { result: answer(endpoint, call.method, call.params) }
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ jsonrpc: '2.0', id: call.id, ...answered }))
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('expected a port')
  return `http://127.0.0.1:${address.port}`
}

function answer(endpoint: Endpoint, method: string, params: unknown[]): unknown {
  const final = endpoint.final ?? 100
  switch (method) {
    case 'eth_chainId':
      return `0x${(endpoint.chainId ?? 31_337).toString(16)}`
    case 'eth_blockNumber':
      return `0x${(final + 20).toString(16)}`
    case 'eth_getBlockByNumber': {
      const tags: Record<string, number> = { finalized: final, latest: final + 20 }
      const tagged = tags[String(params[0])]
      const number = tagged === undefined ? params[0] : `0x${tagged.toString(16)}`
      return {
        number,
        hash: endpoint.hash ?? OTHER,
        transactions: [],
        timestamp: `0x${(endpoint.time ?? 1).toString(16)}`,
      }
    }
    case 'eth_call': {
      endpoint.calls = (endpoint.calls ?? 0) + 1
      const [{ to, data }] = params as [{ to: Hex; data: Hex }]
      if (to === REGISTRY && decodeFunctionData({ abi: enclaveRegistryAbi, data }).functionName === 'enclaveOf') {
        const { operator = CLAIM_KEY } = endpoint
        const flags = { isCompromised: false, isDevelopment: true, isBonded: true }
        const result = { operator, endsAt: 9, role: 2, measurement: KEYSET, ...flags }
        return encodeFunctionResult({ abi: enclaveRegistryAbi, functionName: 'enclaveOf', result })
      }
      if (to === REGISTRY) {
        const result = endpoint.standing ?? [1, 1]
        return encodeFunctionResult({ abi: enclaveRegistryAbi, functionName: 'standingOf', result: [...result] })
      }
      const { size, state } = endpoint.deposit ?? { size: 0, state: 1 }
      const result = { payer: CLAIM_KEY, depositedAt: 1, requestedAt: 0, size, state }
      return encodeFunctionResult({ abi: ABI, functionName: 'depositOf', result })
    }
    case 'eth_getLogs': {
      const [{ topics, fromBlock, toBlock }] = params as [{ topics: [Hex | Hex[]]; fromBlock: Hex; toBlock: Hex }]
      endpoint.ranges?.push(Number(fromBlock))
      const logs = Array.isArray(topics[0]) ? writerLogs(endpoint) : exitLogs(endpoint)
      return logs.filter(
        ({ blockNumber }) => Number(blockNumber) >= Number(fromBlock) && Number(blockNumber) <= Number(toBlock),
      )
    }
  }
  throw new Error(`expected no ${method}`)
}

function hasRange({ rangeMax = Number.POSITIVE_INFINITY }: Endpoint, params: unknown[]): boolean {
  const [{ fromBlock, toBlock }] = params as [{ fromBlock: Hex; toBlock: Hex }]
  return Number(toBlock) - Number(fromBlock) < rangeMax
}

type TestLog = Readonly<Record<string, unknown>> & { readonly blockNumber: Hex }

function writerLogs(endpoint: Endpoint): TestLog[] {
  const times = { signUntil: 1, spendUntil: 2, exitUntil: 3 }
  return (endpoint.writers ?? []).map(([keyset, writer], i) => {
    const eventName = i === 0 ? 'KeysetOpened' : 'KeysetTakenOver'
    const topics = encodeEventTopics({ abi: ABI, eventName, args: { keyset, writer } })
    const components = ['signUntil', 'spendUntil', 'exitUntil'].map((name) => ({ name, type: 'uint40' }))
    const types = [{ type: 'uint16' }, { type: 'tuple', components }, { type: 'bytes' }]
    const data = i === 0 ? encodeAbiParameters(types, [1, times, '0x01']) : '0x'
    return logOf(topics, data, i, `0x${(endpoint.writerBlocks?.[i] ?? 1).toString(16)}`)
  })
}

function exitLogs(endpoint: Endpoint): TestLog[] {
  const topics = encodeEventTopics({
    abi: ABI,
    eventName: 'ExitsOpened',
    args: { keyset: KEYSET, recipient: CLAIM_KEY },
  })
  const types = [{ type: 'uint40' }, { type: 'bytes32[]' }, { type: 'bytes' }]
  return [
    logOf(
      topics,
      encodeAbiParameters(types, [1, endpoint.exits ?? [], '0x']),
      0,
      `0x${(endpoint.exitBlock ?? 1).toString(16)}`,
    ),
  ]
}

function logOf(topics: unknown, data: Hex, logIndex: number, blockNumber: Hex): TestLog {
  const place = { blockHash: OTHER, blockNumber, transactionHash: OTHER, transactionIndex: '0x0', removed: false }
  return { address: VAULT, topics, data, logIndex: `0x${logIndex}`, ...place }
}

async function connect(...endpoints: Endpoint[]): ReturnType<typeof connectChain> {
  const rpcUrls = await Promise.all(endpoints.map(serve))
  return connectChain({ rpcUrls, chainId: 31_337, registry: REGISTRY, vault: VAULT, fromBlock: 0n })
}

describe('a chain reader', () => {
  it('wants two endpoints, both of the right chain', async () => {
    await expect(connect({})).rejects.toMatchObject({ code: 'BAD_CONFIG' })
    await expect(connect({}, { chainId: 1 })).rejects.toMatchObject({ code: 'BAD_CONFIG' })
    await expect(connect({}, { isDown: true })).rejects.toMatchObject({ code: 'RPC_FAILED' })
  })

  it.each([
    [0, 1, { state: 'open', units: 1_000_000n }],
    [1, 1, { state: 'open', units: 10_000_000n }],
    [2, 2, { state: 'closed', units: 100_000_000n }],
    [0, 3, { state: 'closed', units: 1_000_000n }],
    [0, 4, { state: 'closed', units: 1_000_000n }],
    [0, 0, undefined],
  ])('reads a deposit of size %i in state %i', async (size, state, expected) => {
    const deposit = { size, state }
    const chain = await connect({ deposit }, { deposit })
    expect(await chain.deposit(KEYSET, CLAIM_KEY)).toEqual(expected)
  })

  it('believes neither of two endpoints that contradict each other, in what they read or in the block', async () => {
    const deposit = { size: 0, state: 1 }
    const failure = { code: 'RPC_FAILED', retryable: true }
    const lying = await connect({ deposit }, { deposit: { size: 2, state: 1 } })
    await expect(lying.deposit(KEYSET, CLAIM_KEY)).rejects.toMatchObject(failure)
    const forked = await connect({ deposit, hash: KEYSET }, { deposit })
    await expect(forked.deposit(KEYSET, CLAIM_KEY)).rejects.toMatchObject(failure)
  })

  it('reads at the older of two final blocks', async () => {
    const writers = [[KEYSET, WRITERS[0]]] as const
    const chain = await connect({ writers, final: 90 }, { writers, final: 120 })
    expect(await chain.writers(KEYSET)).toEqual([WRITERS[0]])
  })

  it('names the writers of one keyset in their order', async () => {
    const writers = [
      [KEYSET, WRITERS[0]],
      [OTHER, GATEWAY],
      [KEYSET, WRITERS[1]],
    ] as const
    const chain = await connect({ writers }, { writers })
    expect(await chain.writers(KEYSET)).toEqual(WRITERS)
  })

  it('reads however few blocks an endpoint answers at once, and then only what is new', async () => {
    const common = {
      writers: [
        [KEYSET, WRITERS[0]],
        [KEYSET, WRITERS[1]],
      ],
      writerBlocks: [7, 8_000],
      exits: [OTHER],
    } as const
    const bounded: Endpoint = { ...common, final: 9_000, rangeMax: 2_000, ranges: [] }
    const other: Endpoint = { ...common, final: 9_000 }
    const chain = await connect(bounded, other)
    expect(await chain.writers(KEYSET)).toEqual(WRITERS)
    expect((await chain.openedExits(0n)).credits).toEqual([OTHER, OTHER])
    const { ranges } = bounded
    expect(ranges?.length).toBeGreaterThan(8)
    ranges?.splice(0)
    ;[bounded.final, other.final] = [9_100, 9_100]
    expect(await chain.writers(KEYSET)).toEqual(WRITERS)
    expect(ranges).toEqual([9_001])
  })

  it('knows active gateways only, and remembers them for a while', async () => {
    const endpoint: Endpoint = { standing: [1, 1] }
    const chain = await connect(endpoint, { standing: [1, 1] })
    expect(await chain.isActiveGateway(GATEWAY)).toBe(true)
    expect(await chain.isActiveGateway(GATEWAY)).toBe(true)
    expect(endpoint.calls).toBe(1)
    for (const standing of [
      [0, 0],
      [2, 1],
      [3, 1],
      [4, 1],
      [1, 2],
    ] as const) {
      const other = await connect({ standing }, { standing })
      expect(await other.isActiveGateway(GATEWAY)).toBe(false)
    }
  })

  it('asks about a gateway again when a minute is over, to the millisecond', async () => {
    const endpoint: Endpoint = { standing: [1, 1] }
    let time = 5_000
    const rpcUrls = await Promise.all([endpoint, { standing: [1, 1] } as const].map(serve))
    const addresses = { registry: REGISTRY, vault: VAULT, fromBlock: 0n }
    const chain = await connectChain({ rpcUrls, chainId: 31_337, ...addresses, now: () => time })
    for (const [at, calls] of [
      [5_000, 1],
      [64_999, 1],
      [65_000, 2],
    ] as const) {
      time = at
      expect(await chain.isActiveGateway(GATEWAY)).toBe(true)
      expect(endpoint.calls, `at ${at}`).toBe(calls)
    }
  })

  it('knows active issuers with operator and measurement, and everybody else as none', async () => {
    const issuer: Endpoint = { standing: [1, 2] }
    const chain = await connect(issuer, { ...issuer })
    expect(await chain.activeIssuer(GATEWAY)).toEqual({ operator: CLAIM_KEY, measurement: KEYSET })
    for (const standing of [
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 2],
      [4, 2],
    ] as const) {
      const other = await connect({ standing }, { standing })
      expect(await other.activeIssuer(GATEWAY)).toBeUndefined()
    }
    const lying = await connect(issuer, { ...issuer, operator: VAULT })
    await expect(lying.activeIssuer(GATEWAY)).rejects.toMatchObject({ code: 'RPC_FAILED' })
  })

  it('takes every exit that any endpoint has seen', async () => {
    const chain = await connect({ exits: [KEYSET] }, { exits: [OTHER] })
    const { credits, next } = await chain.openedExits(0n)
    expect(new Set(credits)).toEqual(new Set([KEYSET, OTHER]))
    expect(next).toBe(56n)
  })

  it('reads the exits of the newest block too, and asks for none after it', async () => {
    const endpoint: Endpoint = { exits: [KEYSET], exitBlock: 120 }
    const chain = await connect(endpoint, endpoint)
    expect((await chain.openedExits(120n)).credits).toEqual([KEYSET, KEYSET])
    expect(await chain.openedExits(121n)).toEqual({ credits: [], next: 121n })
  })

  it('says the time of the newest block that all have', async () => {
    const endpoints: Endpoint[] = [{ time: 1_700_000_100 }, { time: 1_700_000_088 }]
    const chain = await connect(...endpoints)
    expect(await chain.time()).toBe(1_700_000_088)
  })
})
