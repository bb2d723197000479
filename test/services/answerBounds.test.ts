/**
 * Whoever asks a peer takes an answer at its bound, and one byte past it refuses it as an answer that never came. The peer here answers everything with
 * one text, filled up by spaces, which JSON allows. @module
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createChainReads } from '#chain/chainReads.ts'
import type { Hex } from '#protocol/bytes.ts'
import { enclaveOfKey } from '#protocol/receipt/head.ts'
import { keyset } from '../../offchain/cli/commands/keyset.ts'
import { ask } from '../../offchain/cli/doctor/ask.ts'
import { probeRole } from '../../offchain/cli/statusProbes.ts'
import { fetchBatch } from '../../offchain/explorer/batch.ts'
import { fetchPeer } from '../../offchain/issuer/peerDocuments.ts'
import { connectWitness } from '../../offchain/issuer/witness.ts'
import { connectEnclave } from '../../offchain/operator/peers.ts'
import { fetchDocument } from '../../offchain/sdk/relayDocuments.ts'

const DOMAIN = { chainId: 31_337, settlement: `0x${'5e'.repeat(20)}` } as const
const ENCLAVE = enclaveOfKey(new Uint8Array(32).fill(1)).toLowerCase() as Hex

let server: Server
let url: string
let answer = { status: 200, text: '' }
beforeAll(async () => {
  server = createServer((_request, response) => response.writeHead(answer.status).end(answer.text)).listen(
    0,
    '127.0.0.1',
  )
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

/** What comes of an answer of so many bytes: a value as JSON, or the error's code and words. */
async function outcome(act: () => Promise<unknown>, status: number, text: string, bytes: number): Promise<string> {
  answer = { status, text: text.padEnd(bytes) }
  try {
    const value = await act()
    return value instanceof Uint8Array ? `${value.length} bytes` : JSON.stringify(value)
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    return `${code}: ${message}`
  }
}

type Row = {
  readonly who: string
  readonly bytesMax: number
  readonly status?: number
  readonly text: string
  /** Part of what comes of an answer at the bound, and of one past it. */
  readonly taken: RegExp
  readonly refused: string
  readonly act: () => Promise<unknown>
}

const ROWS: readonly Row[] = [
  {
    who: 'a reader of the chain',
    bytesMax: 8_388_608,
    text: '{"result":"0x1"}',
    taken: /^1$/,
    refused: 'NO_ANSWER',
    act: () => createChainReads([url]).getChainId(),
  },
  {
    who: 'a client of its relay',
    bytesMax: 524_288,
    text: '',
    taken: /^524288 bytes$/,
    refused: 'more than 524288 bytes',
    act: () => fetchDocument(new URL(url)),
  },
  {
    who: 'an operator agent of its enclave',
    bytesMax: 4_194_304,
    text: '{"asset":"none"}',
    taken: /price list/,
    refused: 'no answer from',
    act: () => connectEnclave(url).prices(),
  },
  {
    who: 'an issuer of a witness',
    bytesMax: 65_536,
    status: 404,
    text: '{"error":{"code":"NOT_FOUND","message":"no log"}}',
    taken: /^0$/,
    refused: 'no answer from',
    act: () => connectWitness(url, DOMAIN).sizeOf(ENCLAVE),
  },
  {
    who: 'an issuer of another',
    bytesMax: 65_536,
    text: '{}',
    taken: /^BAD_SHAPE/,
    refused: 'PEER_FAILED',
    act: () => fetchPeer(url, 5_000),
  },
  {
    who: 'the explorer of a batch',
    bytesMax: 262_144,
    text: '{}',
    taken: /^BAD_SHAPE/,
    refused: 'at most 262144 bytes',
    act: () => fetchBatch(url, 7n),
  },
  {
    who: 'the keyset command of an issuer',
    bytesMax: 4_194_304,
    text: '{}',
    taken: /^BAD_SHAPE/,
    refused: 'at most 4194304 bytes',
    act: () => keyset.run(['export', '--agent', url, '--file', 'never written']),
  },
  {
    who: 'the status command of a role',
    bytesMax: 1_048_576,
    status: 503,
    text: '{"reasons":["no chain"]}',
    taken: /no chain/,
    refused: 'more than anybody would',
    act: () => probeRole(url),
  },
  {
    who: 'the doctor of a role',
    bytesMax: 1_048_576,
    text: '',
    taken: /^1048576 bytes$/,
    refused: 'more than anybody would',
    act: async () => (await ask(url)).body,
  },
]

describe.each(ROWS)('$who', ({ bytesMax, status = 200, text, taken, refused, act }) => {
  it(`takes ${bytesMax} bytes and no more`, async () => {
    expect(await outcome(act, status, text, bytesMax)).toMatch(taken)
    expect(await outcome(act, status, text, bytesMax + 1)).toContain(refused)
  })
})
