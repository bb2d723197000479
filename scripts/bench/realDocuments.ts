/** Gas of `NitroVerifier.verify` as a transaction, calldata included, with documents that AWS signed. @module */
import { nitroVerifierAbi } from '#chain/generated/abis.ts'
import { nitroRootOf } from '#chain/nitroRoot.ts'
import { toHex } from '#protocol/bytes.ts'
import { AWS_NITRO_ROOT } from '#protocol/evidence/awsRoot.ts'
import { authorityIds, makeNitroHints } from '#protocol/evidence/nitroHints.ts'
import { deployArtifact } from '../../test/support/artifacts.ts'
import { deployLocal } from '../../test/support/chain.ts'
import { type NitroVector, nitroVectors } from '../../test/support/nitroVectors.ts'
import { type Row, summarize } from './row.ts'

/** The rows `gas.document.*`, medians over the genuine documents; none where their folder is absent. */
export async function measureRealDocuments(): Promise<Row[]> {
  const genuine = nitroVectors().filter(({ kind }) => kind === 'positive')
  const cold: number[] = []
  const warm: number[] = []
  for (const vector of genuine) {
    const gas = await verifyTwice(vector)
    cold.push(gas.cold)
    warm.push(gas.warm)
  }
  if (genuine.length === 0) return []
  const unit = 'gas'
  const count = `of ${genuine.length} documents`
  return [
    {
      id: 'gas.document.warm',
      name: `real Nitro document under cached CAs, verified, ${count}`,
      ...summarize(warm),
      unit,
    },
    { id: 'gas.document.cold', name: `the same with a cold chain, ${count}`, ...summarize(cold), unit },
  ]
}

/** On a chain of its own at the document's own time: cold, then under the CA certificates that this cached. */
async function verifyTwice({ bytes, issuedAt }: NitroVector): Promise<{ cold: number; warm: number }> {
  const chain = await deployLocal({ initialDate: new Date(Number(issuedAt) * 1000).toISOString() })
  try {
    const table = await deployArtifact(chain, 'contracts/attestation/p384/P384Table.sol/P384Table.json')
    const p384 = await deployArtifact(chain, 'contracts/attestation/p384/P384Verifier.sol/P384Verifier.json', [
      table.address,
    ])
    const sha384 = await deployArtifact(chain, 'contracts/attestation/sha384/Sha384.sol/Sha384.json')
    const owner = chain.account('deployer').address
    const root = nitroRootOf(AWS_NITRO_ROOT.certificate)
    const { address } = await deployArtifact(
      chain,
      'contracts/attestation/nitro/NitroVerifier.sol/NitroVerifier.json',
      [owner, p384.address, sha384.address, root, false],
    )
    const verify = async (isCached: boolean) => {
      const hints = makeNitroHints(
        bytes,
        authorityIds(bytes).map(() => isCached),
      )
      const hash = await chain.wallet('deployer').writeContract({
        address,
        abi: nitroVerifierAbi,
        functionName: 'verify',
        args: [toHex(bytes), toHex(hints)],
        gas: 16_777_216n,
      })
      const { status, gasUsed } = await chain.client.waitForTransactionReceipt({ hash })
      if (status !== 'success') throw new Error('a real document to measure was refused')
      return Number(gasUsed)
    }
    return { cold: await verify(false), warm: await verify(true) }
  } finally {
    await chain.close()
  }
}
