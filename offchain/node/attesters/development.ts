/** The development attester: documents of the real Nitro format and shape under a root of our own, with no hardware behind them. @module */
import { OPTIONAL_FIELD_BYTES_MAX, PCR_BYTES } from '#protocol/evidence/nitroDocument.ts'
import { type AttestationRequest, type Attester, AttesterError } from './attester.ts'
import { bootDevelopmentEnclave, createDevelopmentHost, type DevelopmentHost } from './developmentHost.ts'
import { createDevelopmentRoot, type DevelopmentRoot } from './developmentRoot.ts'
import { signNitroDocument } from './nitroEncode.ts'

/**
 * An attester for one simulated enclave. It measures nothing: `pcrs` are whatever the caller says.
 * Throws `AttesterError` (`BAD_PCR`) for an index above 15 or a value that has not 48 bytes.
 */
export function createDevelopmentAttester(options: DevelopmentAttesterOptions): DevelopmentAttester {
  const pcrs = buildPcrs(options.pcrs)
  const nowMs = (): number => Math.floor(options.now())
  const host = options.host ?? createDevelopmentHost(options.root ?? createDevelopmentRoot(toSeconds(nowMs())))
  const enclave = bootDevelopmentEnclave(host, nowMs())
  return {
    kind: 'development',
    root: host.root,
    async attest(request) {
      requireShort(request)
      const timestampMs = nowMs()
      const { leaf, bundle } = enclave.chain(toSeconds(timestampMs))
      const fields = {
        ...request,
        moduleId: enclave.moduleId,
        timestampMs,
        pcrs,
        certificate: leaf.certificate,
        bundle,
      }
      return signNitroDocument(fields, leaf.key)
    },
  }
}

export type DevelopmentAttesterOptions = {
  /** By index 0 to 15, 48 bytes each; an index left out is zero. All of 0, 1 and 2 zero means debug mode. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>
  /** Shared by all enclaves of a development set-up. Left out: a new root that ends with this attester. */
  readonly root?: DevelopmentRoot | undefined
  /** The machine to run on, which brings its own root. Left out: a new one under `root`. */
  readonly host?: DevelopmentHost | undefined
  /** Milliseconds since the epoch, such as `Date.now`. */
  readonly now: () => number
}

export interface DevelopmentAttester extends Attester {
  readonly kind: 'development'
  readonly root: DevelopmentRoot
}

const PCR_COUNT = 16

function buildPcrs(given: ReadonlyMap<number, Uint8Array>): readonly Uint8Array[] {
  for (const [index, value] of given) {
    if (!Number.isInteger(index) || index < 0 || index >= PCR_COUNT || value.length !== PCR_BYTES) {
      const got = `PCR ${index} of ${value.length} bytes`
      throw new AttesterError('BAD_PCR', `expected PCR 0 to ${PCR_COUNT - 1} of ${PCR_BYTES} bytes, got ${got}`)
    }
  }
  return Array.from({ length: PCR_COUNT }, (_, index) => new Uint8Array(given.get(index) ?? new Uint8Array(PCR_BYTES)))
}

function requireShort({ userData, nonce, publicKey }: AttestationRequest): void {
  for (const field of [userData, nonce, publicKey]) {
    if (field !== undefined && field.length > OPTIONAL_FIELD_BYTES_MAX) {
      const got = `${field.length} bytes`
      throw new AttesterError(
        'FIELD_TOO_LONG',
        `expected fields of at most ${OPTIONAL_FIELD_BYTES_MAX} bytes, got ${got}`,
      )
    }
  }
}

function toSeconds(ms: number): number {
  return Math.floor(ms / 1000)
}
