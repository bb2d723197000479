/** Following a receipt to its settlement: an aggregator that answers well, late, wrongly or never, and the root that the chain stores. @module */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { createPublicClient, custom, type PublicClient } from 'viem'
import { afterEach, expect, test } from 'vitest'
import { type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { keccak256 } from '#protocol/hash.ts'
import { batchLeaf } from '#protocol/log/batch.ts'
import { appendLeaves, createRows, leafAt, pathAt, rootAt } from '#protocol/log/rows.ts'
import { BATCH_NODE_TAG } from '#protocol/log/tree.ts'
import { hashName, ZERO_HASH } from '#protocol/receipt/receipt.ts'
import { toJson } from '#protocol/wire/json.ts'
import type { ReceiptFile, SettledLeaf } from '#protocol/wire/receiptFile.ts'
import { SealedReceipt } from './sealedReceipt.ts'

const ENCLAVE: Hex = `0x${'ab'.repeat(20)}`
const SETTLEMENT: Hex = `0x${'5e'.repeat(20)}`
const INDEX = 5
const SIZE = 11

const FILE: ReceiptFile = {
  format: 'sealpath-receipt/1',
  chainId: 31_337,
  registry: `0x${'4e'.repeat(20)}`,
  settlement: SETTLEMENT,
  public: {
    version: 1,
    enclave: ENCLAVE,
    model: hashName('demo'),
    source: 'operator',
    origin: ZERO_HASH,
    request: hashName('a'),
    output: hashName('b'),
    nonce: hashName('c'),
    outcome: 'complete',
  },
  private: {
    promptTokens: 1n,
    completionTokens: 2n,
    prices: hashName('d'),
    fee: 3n,
    hour: 4n,
    encapsulated: hashName('e'),
    toolCalls: hashName('f'),
    response: hashName('g'),
  },
  index: BigInt(INDEX),
  head: { size: BigInt(SIZE), root: ZERO_HASH, signature: { r: ZERO_HASH, vs: ZERO_HASH } },
  path: [],
}

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
})

/** A chain whose settlement contract stores `root` for every batch. */
function chainStoring(root: Hex | undefined): PublicClient {
  const request = async (): Promise<Hex> => (root === undefined ? Promise.reject(new Error('down')) : root)
  return createPublicClient({ transport: custom({ request }, { retryCount: 0 }) }) as PublicClient
}

function receiptWith(root: Hex | undefined, aggregatorUrl?: string): SealedReceipt {
  return new SealedReceipt(FILE, { client: chainStoring(root), settlement: SETTLEMENT, aggregatorUrl })
}

/** The receipt's leaf in a log of eleven, and the head over it in a batch of three. */
const { settled, batchRoot } = settle(receiptWith(undefined).leaf)

function settle(leaf: Hex): { settled: SettledLeaf; batchRoot: Hex } {
  const log = createRows()
  const leaves = Array.from({ length: SIZE }, (_, i) => keccak256(Uint8Array.of(i)))
  leaves[INDEX] = Uint8Array.from(Buffer.from(leaf.slice(2), 'hex'))
  appendLeaves(log, joinBytes(leaves))
  const batch = createRows(BATCH_NODE_TAG)
  const heads = [1, 2, 3].map((i) =>
    i === 2 ? batchLeaf(ENCLAVE, BigInt(SIZE), rootAt(log, SIZE)) : keccak256(Uint8Array.of(i)),
  )
  appendLeaves(batch, joinBytes(heads))
  expect(toHex(leafAt(log, INDEX))).toBe(leaf)
  return {
    settled: {
      enclave: ENCLAVE,
      index: BigInt(INDEX),
      size: BigInt(SIZE),
      logPath: pathAt(log, INDEX, SIZE).map(toHex),
      batch: 7n,
      batchIndex: 1n,
      batchSize: 3n,
      batchPath: pathAt(batch, 1, 3).map(toHex),
      transaction: ZERO_HASH,
      block: 9n,
    },
    batchRoot: toHex(rootAt(batch, 3)),
  }
}

/** An aggregator that gives these answers in turn, and the last one for ever; `undefined` never comes. */
async function aggregator(
  ...answers: readonly ([number, string] | undefined)[]
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = []
  const app = new Hono()
  app.get('*', (c) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)]
    asked.push(c.req.path)
    if (answer === undefined) return new Promise<Response>(() => {})
    return new Response(answer[1], { status: answer[0] })
  })
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server
  servers.push(server)
  if (!server.listening) await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

test('waits until the proof is there, and checks it against the chain', async () => {
  const { url, asked } = await aggregator([404, '{}'], [200, toJson(settled)])
  const receipt = receiptWith(batchRoot, url)
  expect(await receipt.settled()).toEqual({ format: 'sealpath-proof/1', receipt: FILE, settled })
  expect(asked).toEqual([`/v1/proofs/${receipt.leaf}`, `/v1/proofs/${receipt.leaf}`])
})

test('reads 65,536 bytes of an answer with a proof, and takes one with more for none', async () => {
  const { url, asked } = await aggregator([200, toJson(settled).padEnd(65_537)], [200, toJson(settled).padEnd(65_536)])
  expect((await receiptWith(batchRoot, url).settled({ timeoutMs: 10_000 })).settled).toEqual(settled)
  expect(asked).toHaveLength(2)
})

test.each([
  ['another root on chain', {}, hashName('other')],
  ['no such batch', {}, ZERO_HASH],
  ['another index', { index: 4n }, batchRoot],
  ['another size', { size: 12n }, batchRoot],
  ['another batch index', { batchIndex: 0n }, batchRoot],
  ['a path that is too short', { logPath: [] }, batchRoot],
  ['a batch path that is too long', { batchPath: [...settled.batchPath, ZERO_HASH] }, batchRoot],
  ['a batch of nothing', { batchSize: 0n }, batchRoot],
])('rejects a proof for %s', async (_what, fields, root) => {
  const { url } = await aggregator([200, toJson({ ...settled, ...fields })])
  await expect(receiptWith(root, url).settled()).rejects.toMatchObject({ code: 'PROOF_REJECTED' })
})

test.each(['no JSON', '{}'])('rejects %j in place of a proof', async (body) => {
  const { url } = await aggregator([200, body])
  await expect(receiptWith(batchRoot, url).settled()).rejects.toMatchObject({ code: 'PROOF_REJECTED' })
})

test('says that the chain does not answer', async () => {
  const { url } = await aggregator([200, toJson(settled)])
  await expect(receiptWith(undefined, url).settled()).rejects.toMatchObject({ code: 'CHAIN_FAILED' })
})

test.each<[string, [number, string] | undefined]>([
  ['is pending', [202, '{"state":"pending"}']],
  ['never comes', undefined],
])('gives up in time when the proof %s', async (_what, answer) => {
  const { url } = await aggregator(answer)
  await expect(receiptWith(batchRoot, url).settled({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'NOT_SETTLED' })
})

test('gives up in time when the aggregator is down', async () => {
  const receipt = receiptWith(batchRoot, 'http://127.0.0.1:9')
  await expect(receipt.settled({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'NOT_SETTLED' })
})

test('stops with its caller, while it asks and while it waits', async () => {
  const reason = new Error('mine')
  for (const answer of [undefined, [404, '{}']] as const) {
    const { url, asked } = await aggregator(answer as undefined)
    const abort = new AbortController()
    const settling = receiptWith(batchRoot, url).settled({ signal: abort.signal })
    while (asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    abort.abort(reason)
    await expect(settling).rejects.toBe(reason)
  }
  const { url, asked } = await aggregator(undefined)
  await expect(receiptWith(batchRoot, url).settled({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  expect(asked).toEqual([])
})

test('needs an aggregator to ask', async () => {
  await expect(receiptWith(batchRoot).settled()).rejects.toMatchObject({ code: 'BAD_OPTIONS' })
})
