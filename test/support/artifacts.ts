/** Deploys compiled contracts that only tests use. @module */
import { readFileSync } from 'node:fs'
import type { Abi } from 'viem'
import type { Hex } from '#protocol/bytes.ts'
import type { LocalChain } from './chain.ts'

/** Deploys the artifact at `path` (below `artifacts/`) with constructor `args`. */
export async function deployArtifact(
  chain: LocalChain,
  path: string,
  args: readonly unknown[] = [],
): Promise<{ address: Hex; abi: Abi }> {
  const artifact = JSON.parse(readFileSync(new URL(`../../artifacts/${path}`, import.meta.url), 'utf8')) as {
    abi: Abi
    bytecode: Hex
  }
  const hash = await chain.wallet('deployer').deployContract({ abi: artifact.abi, bytecode: artifact.bytecode, args })
  const { contractAddress } = await chain.client.waitForTransactionReceipt({ hash })
  if (contractAddress === null || contractAddress === undefined) throw new Error(`${path} was not deployed`)
  return { address: contractAddress, abi: artifact.abi }
}
