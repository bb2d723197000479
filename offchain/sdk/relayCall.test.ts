/** How much a client reads of one sealed answer. What it asks: wallet/issuerAccess.test.ts. @module */
import { expect, test } from 'vitest'
import { generateGatewayKey } from '#node/sealing/keyRing.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'
import type { TrustedGateway } from './gateway.ts'
import { callThroughRelay } from './relayCall.ts'

const suites = createNodeSuites()

test('reads answers of 67,108,864 bytes and not one more', async () => {
  const { config } = await generateGatewayKey(suites, 1, KEM_X25519)
  const enclave: TrustedGateway = {
    enclave: `0x${'e1'.repeat(20)}`,
    operator: `0x${'0e'.repeat(20)}`,
    measurement: `0x${'aa'.repeat(32)}`,
    isDevelopment: true,
    url: new URL('http://relay/gateways/g'),
    keyConfigs: [config],
  }
  const call = (bytes: number): Promise<unknown> => {
    const headers = { 'content-type': 'message/ohttp-res' }
    const fetch = async () => new Response(new Uint8Array(bytes), { headers })
    return callThroughRelay({ suites, timeoutMs: 10_000, fetch }, enclave, {
      method: 'GET',
      path: '/',
      body: new Uint8Array(),
    })
  }
  // Read whole, and then nothing that opens.
  await expect(call(67_108_864)).rejects.toMatchObject({ code: 'DECRYPTION_FAILED' })
  await expect(call(67_108_865)).rejects.toMatchObject({ code: 'RELAY_FAILED', cause: expect.any(RangeError) })
})
