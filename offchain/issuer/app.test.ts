/** How long a request to an issuer may be, in front of its handler. What the handler answers: test/services/issuer.test.ts. @module */
import { expect, it } from 'vitest'
import { generateGatewayKey, KeyRing } from '#node/sealing/keyRing.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { sealHttpRequest } from '#protocol/sealing/client.ts'
import { requestSizeClass } from '#protocol/sealing/padding.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'
import { ISSUER_REQUEST_LIMITS } from './app.ts'

const suites = createNodeSuites()
const keys = new KeyRing()
const key = await generateGatewayKey(suites, 1, KEM_X25519)
keys.add(key)
let outcomes: string[] = []
const server = createSealedServer({
  keys,
  suites,
  replay: new ReplayMemory(Date.now),
  handle: async ({ body }) => {
    outcomes.push(`${body.length} bytes handled`)
    return { status: 200, headers: [], body: new Uint8Array() }
  },
  limits: ISSUER_REQUEST_LIMITS,
  onRefused: (code) => outcomes.push(code),
})

/** The status outside the seal, and what became of the request. */
async function outcome(body: Uint8Array<ArrayBuffer>, contentType: string): Promise<(number | string)[]> {
  outcomes = []
  const { status } = await server(
    new Request('https://issuer/gateway', { method: 'POST', headers: { 'content-type': contentType }, body }),
  )
  return [status, ...outcomes]
}

it.each([true, false])(
  'takes content of 65,536 bytes in its padding and not one more, chunked: %s',
  async (chunked) => {
    const ask = async (bodyBytes: number): Promise<(number | string)[]> => {
      const body = new Uint8Array(bodyBytes)
      const inner = { method: 'POST', scheme: 'https', authority: 'issuer', path: '/v1/issue', headers: [], body }
      const sealed = await sealHttpRequest(suites, key.config, inner, { chunked, padTo: requestSizeClass })
      return outcome(sealed.body, sealed.contentType)
    }
    expect(await ask(65_536)).toEqual([200, '65536 bytes handled'])
    expect(await ask(65_537)).toEqual([400, 'CONTENT_TOO_LARGE'])
  },
)

it('reads messages of 135,168 bytes and not one more', async () => {
  // Zeros name a key that nobody has, once all of them were read.
  expect(await outcome(new Uint8Array(135_168), 'message/ohttp-req')).toEqual([400, 'UNKNOWN_KEY'])
  expect(await outcome(new Uint8Array(135_169), 'message/ohttp-req')).toEqual([413, 'MESSAGE_TOO_LARGE'])
})
