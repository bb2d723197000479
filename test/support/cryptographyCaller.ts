/** The contracts of test/contracts/support/P384Reference.sol, as TypeScript functions. @module */
import { parseAbi } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import type { AttestationChain } from '../../scripts/attestation/measure.ts'

const CALLER = parseAbi([
  'error Sha384NoAnswer(address sha384)',
  'function accepts(address verifier, bytes input) view returns (bool)',
  'function digestOf(address sha384, bytes message) view returns (bytes)',
  'function referenceDigestOf(bytes message) pure returns (bytes)',
])
const REFERENCE = parseAbi(['function verify(bytes input) view returns (bool)'])

export type CryptographyCaller = {
  accepts(verifier: Hex, input: Hex): Promise<boolean>
  digestOf(sha384: Hex, message: Hex): Promise<Hex>
  referenceDigestOf(message: Hex): Promise<Hex>
}

/** Deploys CryptographyCaller: the libraries P384 and Sha384Call as a contract sees them, and Sha384Reference. */
export async function deployCaller({ connection }: AttestationChain): Promise<CryptographyCaller> {
  const client = await connection.viem.getPublicClient()
  const { address } = await connection.viem.deployContract('CryptographyCaller')
  const contract = { address, abi: CALLER } as const
  return {
    accepts: (...args) => client.readContract({ ...contract, functionName: 'accepts', args }),
    digestOf: (...args) => client.readContract({ ...contract, functionName: 'digestOf', args }),
    referenceDigestOf: (...args) => client.readContract({ ...contract, functionName: 'referenceDigestOf', args }),
  }
}

/** Deploys P384Reference. A verification takes about 60 million gas and seconds: the chain must allow them. */
export async function deployReference({ connection }: AttestationChain): Promise<(input: Hex) => Promise<boolean>> {
  const client = await connection.viem.getPublicClient()
  const { address } = await connection.viem.deployContract('P384Reference')
  return (input) => client.readContract({ address, abi: REFERENCE, functionName: 'verify', args: [input] })
}
