/** The signatures of the real documents in ../shared/vectors/nitro: each certificate under the one before it, and the document. @module */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'

export type NitroSignature = {
  readonly message: Uint8Array
  readonly signature: Uint8Array
  readonly publicKey: Uint8Array
}

const FOLDER = new URL('../../../shared/vectors/nitro/', import.meta.url)

/** By document; empty where the folder is absent. Documents whose signatures are bad on purpose, or RSA, are left out. */
export function nitroSignatures(): { readonly name: string; readonly signatures: readonly NitroSignature[] }[] {
  if (!existsSync(FOLDER)) return []
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.bin') && !name.includes('badsig'))
    .map((name) => ({ name, signatures: signaturesOf(new Uint8Array(readFileSync(new URL(name, FOLDER)))) }))
}

function signaturesOf(bytes: Uint8Array): NitroSignature[] {
  const document = parseNitroDocument(bytes)
  const chain = [...document.cabundle, document.certificate].map(parseCertificate)
  const signatures: NitroSignature[] = []
  for (const [index, { publicKey }] of chain.entries()) {
    const child = chain[index + 1]
    const { message, signature } =
      child === undefined
        ? { message: document.signedBytes, signature: document.signature }
        : { message: child.tbs, signature: child.signature }
    signatures.push({ message, signature, publicKey })
  }
  return signatures
}
