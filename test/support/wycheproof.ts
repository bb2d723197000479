/** Files of Wycheproof's format for ECDSA on P-384 with SHA-384, judged by the contract. @module */
import { p384 } from '@noble/curves/nist.js'
import { sha384 } from '@noble/hashes/sha2.js'
import { fromHex } from '#protocol/bytes.ts'
import { encodeP384Call, makeP384Hints, P384Error } from '#protocol/evidence/p384Hints.ts'
import type { AttestationChain } from '../../scripts/attestation/measure.ts'
import { answerOf } from './p384Answers.ts'

export type WycheproofFile = {
  /** `EcdsaP1363Verify` for r ‖ s, `EcdsaVerify` for DER. */
  readonly schema?: string
  readonly testGroups: readonly {
    readonly type: string
    readonly sha: string
    readonly publicKey: { readonly curve: string; readonly uncompressed: string }
    readonly tests: readonly {
      readonly tcId: number
      readonly msg: string
      readonly sig: string
      readonly result: 'valid' | 'invalid' | 'acceptable'
    }[]
  }[]
}

export type Verdict = { readonly tcId: number; readonly expected: string; readonly actual: 'valid' | 'invalid' }

/**
 * What comes out for each case. A case is valid here when the contract accepts it. One for which no hints can be made is put to the contract
 * with the hints of another signature all the same: it must refuse.
 */
export async function judge(chain: AttestationChain, file: WycheproofFile): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for (const group of file.testGroups) {
    if (group.sha !== 'SHA-384' || group.publicKey.curve !== 'secp384r1') continue
    const publicKey = hex(group.publicKey.uncompressed)
    for (const { tcId, msg, sig, result } of group.tests) {
      const signature = group.type === 'EcdsaVerify' ? fromDer(hex(sig)) : hex(sig)
      const isAccepted = signature?.length === 96 && (await accepts(chain, hex(msg), signature, publicKey))
      verdicts.push({ tcId, expected: result, actual: isAccepted ? 'valid' : 'invalid' })
    }
  }
  return verdicts
}

async function accepts(
  chain: AttestationChain,
  message: Uint8Array,
  signature: Uint8Array,
  publicKey: Uint8Array,
): Promise<boolean> {
  const input = { hash: sha384(message), signature, publicKey }
  let hints: Uint8Array
  try {
    hints = makeP384Hints(input)
  } catch (error) {
    if (!(error instanceof P384Error)) throw error
    hints = OTHER_HINTS
  }
  return (await answerOf(chain, encodeP384Call(input, hints))) === 'ACCEPTED'
}

/** Hints of a valid signature, for those that have none. */
const OTHER_HINTS = (() => {
  const secretKey = new Uint8Array(48).fill(3)
  const hash = sha384(new Uint8Array())
  const signature = p384.sign(hash, secretKey, { prehash: false, lowS: false, format: 'compact' })
  return makeP384Hints({ hash, signature, publicKey: p384.getPublicKey(secretKey, false) })
})()

/** r ‖ s of a strict DER signature; undefined for anything else. */
function fromDer(bytes: Uint8Array): Uint8Array | undefined {
  try {
    return p384.Signature.fromBytes(bytes, 'der').toBytes('compact')
  } catch {
    // Not a signature at all: such a case is invalid by its form.
    return undefined
  }
}

function hex(text: string): Uint8Array {
  return fromHex(`0x${text}`)
}
