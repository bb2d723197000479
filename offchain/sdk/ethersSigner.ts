/**
 * An ethers signer as the account that deposits and exits. What is needed of it is written out here, so that the SDK does not depend on ethers.
 * @module
 */
import type { ChainSigner, TypedMessage } from '#chain/vaultSigner.ts'
import type { Hex } from '#protocol/bytes.ts'

/** The part of `Signer` of ethers 6 that is used. */
export type EthersSigner = {
  getAddress(): Promise<string>
  signTypedData(
    domain: TypedMessage['domain'],
    types: Record<string, { name: string; type: string }[]>,
    message: Record<string, unknown>,
  ): Promise<string>
  sendTransaction(call: { to: string; data: string }): Promise<{ readonly hash: string }>
}

/** Throws `TypeError` for a signer that answers with something that is no hex. */
export async function signerOfEthers(signer: EthersSigner): Promise<ChainSigner> {
  return {
    address: asHex(await signer.getAddress()),
    async signTypedData({ domain, types, message }) {
      const fields = Object.fromEntries(
        Object.entries(types).map(([name, list]) => [name, list.map((f) => ({ ...f }))]),
      )
      return asHex(await signer.signTypedData(domain, fields, { ...message }))
    },
    async sendTransaction({ to, data }) {
      return asHex((await signer.sendTransaction({ to, data })).hash)
    },
  }
}

function asHex(text: string): Hex {
  if (!/^0x[0-9a-fA-F]*$/.test(text)) throw new TypeError('expected hex from the signer')
  return text as Hex
}
