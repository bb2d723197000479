/** What a node says to raw bytes: no codes, only sentences, different ones of each implementation. @module */

/** `usedNonce`: the receipts will tell by what; `noFunds`: the account cannot pay; `failed`: for another reason that passes. */
export type SendOutcome = 'taken' | 'known' | 'usedNonce' | 'underpriced' | 'noFunds' | 'failed'

/** Reads the sentences of go-ethereum, and those of others that users met. */
export function outcomeOf(message: string): SendOutcome {
  if (/already known|already imported|known transaction|already exists/i.test(message)) return 'known'
  if (/nonce (?:is )?too low|nonce has already been used|invalid nonce.*lower/i.test(message)) return 'usedNonce'
  if (/underpriced|fee too low|less than block base fee|max fee per gas.*(?:too low|lower)/i.test(message)) {
    return 'underpriced'
  }
  if (/insufficient (?:funds|balance)|doesn't have enough funds|exceeds (?:the )?balance/i.test(message))
    return 'noFunds'
  return 'failed'
}

/** What several endpoints said together, best first: one that took it is enough. */
const BEST_FIRST = ['taken', 'known', 'usedNonce', 'underpriced', 'noFunds', 'failed'] as const

export function bestOutcome(outcomes: readonly SendOutcome[]): SendOutcome {
  return BEST_FIRST.find((outcome) => outcomes.includes(outcome)) ?? 'failed'
}
