/** How long a request to a gateway may be, unless its configuration says otherwise. What else it takes: targetLimits.test.ts. @module */
import { expect, it } from 'vitest'
import { encodeRequest } from '#protocol/sealing/binaryHttp.ts'
import { sealChunkedRequest } from '#protocol/sealing/chunkedOhttp.ts'
import { sealRequest } from '#protocol/sealing/ohttp.ts'
import { requestSizeClass } from '#protocol/sealing/padding.ts'
import { startLimitedServer } from '../test/support/limitedServer.ts'
import { GATEWAY_LIMITS, sealedLimits } from './limits.ts'

const HEAD = { method: 'POST', scheme: 'https', authority: 'g', path: '/v1/embeddings', headers: [] } as const
const { suites, config, outcome } = await startLimitedServer(sealedLimits(GATEWAY_LIMITS))

/** A request with so much content, in the padding that clients give it. */
const requestOf = (bytes: number): Uint8Array =>
  encodeRequest({ ...HEAD, body: new Uint8Array(bytes) }, requestSizeClass)

it('takes content of 16,777,216 bytes in its padding and not one more', async () => {
  const ask = async (bytes: number): Promise<(number | string)[]> => {
    const { encapsulated } = await sealRequest(suites, config, requestOf(bytes))
    return outcome(encapsulated, 'message/ohttp-req')
  }
  expect(await ask(16_777_216)).toEqual([200, '16777216 bytes handled'])
  expect(await ask(16_777_217)).toEqual([400, 'CONTENT_TOO_LARGE'])
})

it('takes as much in chunks, which are longer by their lengths and tags', async () => {
  const { encapsulated } = await sealChunkedRequest(suites, config, requestOf(16_777_216))
  expect(await outcome(encapsulated, 'message/ohttp-chunked-req')).toEqual([200, '16777216 bytes handled'])
})

it('reads messages of 20,198,196 bytes and not one more', async () => {
  const declaring = (bytes: number) => outcome(new Uint8Array(7), 'message/ohttp-req', bytes)
  expect(await declaring(20_198_196)).toEqual([400, 'UNKNOWN_KEY'])
  expect(await declaring(20_198_197)).toEqual([413, 'MESSAGE_TOO_LARGE'])
})
