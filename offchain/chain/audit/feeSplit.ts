/** How what an enclave was credited is split. Twin of contracts/libraries/FeeSplit.sol. @module */

const BPS = 10_000n

/** `bothBps`: the protocol's and the settler's share together. */
export type Shares = { readonly settlerBps: bigint; readonly bothBps: bigint }

export type FeeSplit = { readonly operator: bigint; readonly protocol: bigint; readonly settler: bigint }

/** The three parts of `credited` units, cumulative; they add up to it. */
export function splitFees(credited: bigint, { settlerBps, bothBps }: Shares): FeeSplit {
  const both = (credited * bothBps + BPS - 1n) / BPS
  const settler = bothBps === 0n ? 0n : (both * settlerBps) / bothBps
  return { operator: credited - both, protocol: both - settler, settler }
}
