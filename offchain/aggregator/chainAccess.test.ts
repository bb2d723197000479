import { expect, test } from 'vitest'
import { outcomeOf } from './chainAccess.ts'

test.each([
  ['already known', 'known'],
  ['ALREADY_EXISTS: already known', 'known'],
  ['Known transaction: 0xabc', 'known'],
  ['nonce too low: next nonce 5, tx nonce 4', 'usedNonce'],
  ['Nonce too low. Expected nonce to be 5 but got 4.', 'usedNonce'],
  ['replacement transaction underpriced', 'underpriced'],
  ['transaction underpriced: tip needed 1, tip permitted 0', 'underpriced'],
  ['max fee per gas less than block base fee', 'underpriced'],
  ['insufficient funds for gas * price + value', 'failed'],
  ['header not found', 'failed'],
] as const)('reads what a node says: %s', (message, outcome) => {
  expect(outcomeOf(message)).toBe(outcome)
})
