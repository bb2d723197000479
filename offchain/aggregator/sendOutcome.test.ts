import { expect, test } from 'vitest'
import { bestOutcome, outcomeOf } from './sendOutcome.ts'

test.each([
  ['already known', 'known'],
  ['ALREADY_EXISTS: already known', 'known'],
  ['Known transaction: 0xabc', 'known'],
  ['nonce too low: next nonce 5, tx nonce 4', 'usedNonce'],
  ['Nonce too low. Expected nonce to be 5 but got 4.', 'usedNonce'],
  ['replacement transaction underpriced', 'underpriced'],
  ['transaction underpriced: tip needed 1, tip permitted 0', 'underpriced'],
  ['max fee per gas less than block base fee', 'underpriced'],
  ['insufficient funds for gas * price + value', 'noFunds'],
  ["Sender doesn't have enough funds to send tx.", 'noFunds'],
  ['header not found', 'failed'],
] as const)('reads what a node says: %s', (message, outcome) => {
  expect(outcomeOf(message)).toBe(outcome)
})

test('one endpoint that took it is enough', () => {
  expect(bestOutcome(['failed', 'taken', 'underpriced'])).toBe('taken')
  expect(bestOutcome(['failed', 'noFunds'])).toBe('noFunds')
  expect(bestOutcome([])).toBe('failed')
})
