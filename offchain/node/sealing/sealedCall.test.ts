/** How much a role reads of another's sealed answer. What is said between roles: gateway/issuerClient.test.ts, test/services/issuerHandover.test.ts. @module */
import { Hono } from 'hono'
import { expect, it } from 'vitest'
import { startServer } from '#node/server.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'
import { generateGatewayKey, KeyRing } from './keyRing.ts'
import { createNodeSuites } from './nodeSuites.ts'
import { ReplayMemory } from './replayMemory.ts'
import { callSealed } from './sealedCall.ts'
import { createSealedServer } from './sealedServer.ts'

it('reads answers of 2,097,152 bytes and not one more', async () => {
  const suites = createNodeSuites()
  const keys = new KeyRing()
  const key = await generateGatewayKey(suites, 1, KEM_X25519)
  keys.add(key)
  let bodyBytes = 0
  let answerBytes = 0
  const sealed = createSealedServer({
    keys,
    suites,
    replay: new ReplayMemory(Date.now),
    handle: async () => ({ status: 200, headers: [], body: new Uint8Array(bodyBytes) }),
  })
  const app = new Hono()
  app.post('/gateway', async (c) => {
    const response = await sealed(c.req.raw)
    const bytes = await response.arrayBuffer()
    answerBytes = bytes.byteLength
    return new Response(bytes, response)
  })
  const server = await startServer(app, { host: '127.0.0.1', port: 0 })
  const peer = { suites, url: `${server.url}/gateway`, config: key.config, timeoutMs: 5_000 }
  const call = async (bytes: number): Promise<number> => {
    bodyBytes = bytes
    const { body } = await callSealed(peer, { method: 'POST', path: '/', body: new Uint8Array() })
    return body.length
  }
  // What is around a body of this order: the same for all of them.
  await call(1_000_000)
  const largest = 2_097_152 - (answerBytes - 1_000_000)
  expect([await call(largest), answerBytes]).toEqual([largest, 2_097_152])
  await expect(call(largest + 1)).rejects.toMatchObject({ code: 'PEER_FAILED', cause: expect.any(RangeError) })
  expect(answerBytes).toBe(2_097_153)
  await server.close(0)
})
