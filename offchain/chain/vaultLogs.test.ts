/** How often an endpoint is asked for events at most. What is read: wallets' and audits' tests. @module */
import type { PublicClient } from 'viem'
import { expect, it } from 'vitest'
import { type BlockRange, readLogs } from './vaultLogs.ts'

const NEWEST = 2_048n * 1_024n - 1n

/**
 * Asks for all blocks of an endpoint that answers 1,024 at once, and 512 after so many answers: eleven and one requests are refused, `answers` are
 * answered, and twice what is left of 2,048.
 */
async function requestsWith(answers: number): Promise<number> {
  let requests = 0
  let answered = 0
  const read = async ({ fromBlock, toBlock }: BlockRange): Promise<[]> => {
    requests++
    if (toBlock - fromBlock + 1n > (answered < answers ? 1_024n : 512n)) throw new Error('too many blocks')
    answered++
    return []
  }
  await readLogs({ client: {} as PublicClient, fromBlock: 0n }, read, { to: NEWEST })
  return requests
}

it('asks 4,000 times and not once more', async () => {
  expect(await requestsWith(108)).toBe(4_000)
  await expect(requestsWith(107)).rejects.toMatchObject({
    code: 'CHAIN_FAILED',
    message: expect.stringContaining('too few blocks at once'),
  })
})
