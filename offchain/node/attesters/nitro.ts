/** The Nitro attester: documents from the Nitro Secure Module of the enclave that this process runs in. @module */
import type { Attester } from './attester.ts'
import type { NsmDevice } from './nsmDevice.ts'
import { decodeAttestationAnswer, encodeAttestationRequest } from './nsmMessage.ts'

/**
 * An attester over an open device (`openNsmDevice`), which stays the caller's to close. The module measures, dates and signs; nothing of
 * the document is checked here, because everybody who relies on it checks all of it.
 * `attest` throws `AttesterError`: `FIELD_TOO_LONG`, `FIELD_EMPTY`, `DEVICE_FAILED`, `MODULE_REFUSED`, `BAD_MODULE_ANSWER`.
 */
export function createNitroAttester(device: NsmDevice): Attester {
  return {
    kind: 'nitro',
    async attest(request) {
      return decodeAttestationAnswer(await device.exchange(encodeAttestationRequest(request)))
    },
  }
}
