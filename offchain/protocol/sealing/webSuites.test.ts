import { afterEach, expect, it, vi } from 'vitest'
import { encodeUtf8 } from '../bytes.ts'
import { sealRequest } from './ohttp.ts'
import { KEM_X_WING, KEM_X25519 } from './suite.ts'
import { createWebSuites } from './webSuites.ts'

afterEach(() => vi.restoreAllMocks())

/** The runtime as it is where ML-KEM is missing, in Firefox for one. */
function hideMlKem(): void {
  const importKey = crypto.subtle.importKey.bind(crypto.subtle)
  vi.spyOn(crypto.subtle, 'importKey').mockImplementation((async (...args: Parameters<typeof importKey>) => {
    if (JSON.stringify(args[2]).includes('ML-KEM')) throw new DOMException('Unrecognized name.', 'NotSupportedError')
    return importKey(...args)
  }) as typeof importKey)
}

it('serves X-Wing from JavaScript where the runtime has no ML-KEM', async () => {
  hideMlKem()
  const suites = createWebSuites()
  const { publicKey } = await suites.generateKeyPair(KEM_X_WING)
  const config = { keyId: 1, kemId: KEM_X_WING, publicKey, suites: [{ kdfId: 1, aeadId: 1 }] }
  const sealed = await sealRequest(suites, config, encodeUtf8('hello'))
  expect(sealed.enc).toHaveLength(1120)
})

it('has no X-Wing there when JavaScript may not serve, and still has X25519', async () => {
  hideMlKem()
  const suites = createWebSuites({ noble: 'never' })
  expect(await suites.get(KEM_X_WING, 1, 1)).toBeUndefined()
  expect(await suites.get(KEM_X25519, 1, 1)).toBeDefined()
})
