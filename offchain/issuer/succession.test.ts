/** What a keyset's standing says before it knows anything. What follows from what it reads: test/services/issuerSuccession.test.ts. @module */
import { expect, it } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import { SILENT } from '../../test/support/postgres.ts'
import { until } from '../../test/support/until.ts'
import { KeysetStanding } from './succession.ts'

it('is unavailable until the vault has said who writes, and leaves exits only when that is another', async () => {
  const answer = Promise.withResolvers<Hex[]>()
  const standing = new KeysetStanding({
    enclave: `0x${'e1'.repeat(20)}`,
    keyset: `0x${'aa'.repeat(32)}`,
    chain: { writers: () => answer.promise },
    logs: [],
    isFresh: true,
    recheck: async () => 'whole',
    leaseMs: 20_000,
    log: SILENT,
  })
  const said = (): string | undefined => {
    try {
      standing.requireOpen()
      return undefined
    } catch (error) {
      return (error as { code?: string }).code
    }
  }
  expect(said()).toBe('UNAVAILABLE')
  answer.resolve([`0x${'e2'.repeat(20)}`])
  await until(() => said() === 'EXIT_ONLY')
  await standing.close()
})
