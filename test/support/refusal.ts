/** From a failed call to the evidence code that the contract gave. @module */
import { type Abi, decodeErrorResult, type Hex } from 'viem'
import { evidenceCodes } from './evidenceCodes.ts'

/** The evidence code, or the name of another custom error. Throws the error itself when it carries no revert data. */
export function readRefusal(error: unknown, abi: Abi): string {
  const data = revertDataOf(error)
  if (data === undefined) throw error
  const { errorName, args } = decodeErrorResult({ abi, data })
  return errorName === 'EvidenceRefused' ? (evidenceCodes()[Number(args?.[0])] ?? 'UNKNOWN') : errorName
}

/** The revert data, wherever the client's error keeps it. */
function revertDataOf(error: unknown): Hex | undefined {
  for (let cause = error; typeof cause === 'object' && cause !== null; cause = (cause as { cause?: unknown }).cause) {
    const { data, raw } = cause as { data?: unknown; raw?: unknown }
    for (const candidate of [data, raw, (data as { data?: unknown } | undefined)?.data]) {
      if (typeof candidate === 'string' && /^0x[0-9a-f]{8,}$/.test(candidate)) return candidate as Hex
    }
  }
  return undefined
}
