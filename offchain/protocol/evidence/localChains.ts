/** Chains where nothing is at stake. @module */

const LOCAL_CHAINS: ReadonlySet<number> = new Set([31_337, 1_337])

/** Whether a chain id is one that development nodes use: only there a development root is taken for an enclave's without being told so. */
export function isLocalChain(chainId: number): boolean {
  return LOCAL_CHAINS.has(chainId)
}
