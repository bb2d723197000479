/** How long a request to an issuer may be, in front of its handler. What the handler answers: test/services/issuer.test.ts. @module */
import { expect, it } from 'vitest'
import { sealHttpRequest } from '#protocol/sealing/client.ts'
import { requestSizeClass } from '#protocol/sealing/padding.ts'
import { startLimitedServer } from '../../test/support/limitedServer.ts'
import { ISSUER_REQUEST_LIMITS } from './app.ts'

const { suites, config, outcome } = await startLimitedServer(ISSUER_REQUEST_LIMITS)

it.each([true, false])(
  'takes content of 65,536 bytes in its padding and not one more, chunked: %s',
  async (chunked) => {
    const ask = async (bodyBytes: number): Promise<(number | string)[]> => {
      const body = new Uint8Array(bodyBytes)
      const inner = { method: 'POST', scheme: 'https', authority: 'issuer', path: '/v1/issue', headers: [], body }
      const sealed = await sealHttpRequest(suites, config, inner, { chunked, padTo: requestSizeClass })
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
