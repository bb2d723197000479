/** Reads over plain JSON-RPC, from endpoints that answer what the test says. @module */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { encodeFunctionResult } from 'viem'
import { afterEach, describe, expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { createChainReads } from './chainReads.ts'
import { registryReadsAbi } from './generated/readsAbis.ts'

const REGISTRY: Hex = `0x${'01'.repeat(20)}`
const contract = { address: REGISTRY, abi: registryReadsAbi } as const
const count = (result: bigint) => encodeFunctionResult({ abi: registryReadsAbi, functionName: 'enclaveCount', result })

type Answers = Readonly<Record<string, unknown>>

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

/** Answers by method; `asked` gets the parameters of each call. */
async function endpoint(answers: Answers, asked: unknown[] = [], raw?: string): Promise<string> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const { method, params } = JSON.parse(Buffer.concat(parts).toString()) as { method: string; params: unknown[] }
      asked.push([method, params])
      const answer =
        method in answers ? { result: answers[method] } : { error: { code: -32_601, message: 'secret of the server' } }
      response.end(raw ?? JSON.stringify({ jsonrpc: '2.0', id: 1, ...answer }))
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/key-of-the-user`
}

describe('one endpoint', () => {
  it('says chain, time and what contracts answer, at its newest block', async () => {
    const asked: unknown[] = []
    const answers = {
      eth_chainId: '0x7a69',
      eth_getBlockByNumber: { timestamp: '0x65' },
      eth_call: count(7n),
    }
    const reads = createChainReads([await endpoint(answers, asked)])
    expect(await reads.getChainId()).toBe(31_337)
    expect(await reads.getBlock()).toEqual({ timestamp: 101n })
    expect(await reads.readContract({ ...contract, functionName: 'enclaveCount' })).toBe(7n)
    expect(asked.at(-1)).toEqual([
      'eth_call',
      [{ to: REGISTRY, data: expect.stringMatching(/^0x[0-9a-f]{8}$/) }, 'latest'],
    ])
  })

  it.each([
    ['REFUSED', {}, undefined],
    ['MALFORMED', { eth_chainId: 'soon' }, undefined],
    ['MALFORMED', { eth_chainId: 1 }, undefined],
    ['NO_ANSWER', {}, 'no JSON'],
    ['MALFORMED', {}, '7'],
  ])('that answers badly is %s, and its address is told to nobody', async (code, answers, raw) => {
    const reads = createChainReads([await endpoint(answers, [], raw)])
    const error = await reads.getChainId().catch((failure: unknown) => failure)
    expect(error).toMatchObject({ name: 'ChainReadError', code })
    expect(String(error)).not.toMatch(/key-of-the-user|secret of the server/)
  })

  it('that is away, or has no such contract, is said so', async () => {
    await expect(createChainReads(['http://127.0.0.1:9/']).getChainId()).rejects.toMatchObject({ code: 'NO_ANSWER' })
    const reads = createChainReads([await endpoint({ eth_call: '0x' })])
    const reading = reads.readContract({ ...contract, functionName: 'enclaveCount' })
    await expect(reading).rejects.toMatchObject({ code: 'NO_CONTRACT' })
    expect(() => createChainReads([])).toThrow('expected an RPC endpoint')
  })

  it('that closes a connection just when it is asked is asked once more, and not for ever', async () => {
    const url = await endpoint({ eth_chainId: '0x1' })
    let broken = 1
    let asked = 0
    servers[0]?.prependListener('request', ({ socket }) => {
      asked++
      if (broken-- > 0) socket.destroy()
    })
    const reads = createChainReads([url])
    expect(await reads.getChainId()).toBe(1)
    expect(asked).toBe(2)
    broken = 3
    await expect(reads.getChainId()).rejects.toMatchObject({ code: 'NO_ANSWER' })
    expect(asked).toBe(4)
  })

  it('that never stops talking is cut', async () => {
    const endless = await endpoint({}, [], `"${'x'.repeat(9 * 1024 * 1024)}"`)
    await expect(createChainReads([endless]).getChainId()).rejects.toMatchObject({ code: 'NO_ANSWER' })
  })
})

describe('several endpoints', () => {
  it('are read at the newest block that all have', async () => {
    const asked: unknown[] = []
    const ahead = await endpoint({ eth_blockNumber: '0x20', eth_call: count(7n) }, asked)
    const behind = await endpoint({ eth_blockNumber: '0x1f', eth_call: count(7n) })
    const reads = createChainReads([ahead, behind])
    expect(await reads.readContract({ ...contract, functionName: 'enclaveCount' })).toBe(7n)
    expect(asked.at(-1)).toMatchObject(['eth_call', [{}, '0x1f']])
  })

  it('that contradict each other are believed in nothing', async () => {
    const honest = await endpoint({ eth_chainId: '0x1', eth_blockNumber: '0x20', eth_call: count(7n) })
    const lying = await endpoint({ eth_chainId: '0x1', eth_blockNumber: '0x20', eth_call: count(8n) })
    const reads = createChainReads([honest, lying])
    expect(await reads.getChainId()).toBe(1)
    const reading = reads.readContract({ ...contract, functionName: 'enclaveCount' })
    await expect(reading).rejects.toMatchObject({ code: 'CONTRADICTION' })
  })
})
