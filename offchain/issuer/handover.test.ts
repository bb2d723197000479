/** How many handovers an issuer has under way at most. What it hands over, and to whom: test/services/issuerHandover.test.ts. @module */
import { expect, it } from 'vitest'
import { bootIssuerEnclave, giverOf, requestOf } from '../../test/support/issuerEnclave.ts'

it('takes four requests at once, and another when one has ended', async () => {
  const giver = await bootIssuerEnclave()
  const request = requestOf(await bootIssuerEnclave(), giver)
  const chain = Promise.withResolvers<undefined>()
  const handOver = giverOf(giver, {
    chain: { activeIssuer: () => chain.promise, writers: async () => [] },
    keysets: () => [],
  })
  const ask = (): Promise<unknown> => handOver(request).catch(({ code }) => code)
  const answers = Array.from({ length: 5 }, ask)
  chain.resolve(undefined)
  expect(await Promise.all(answers)).toEqual([...Array.from({ length: 4 }, () => 'NOT_REGISTERED'), 'UNAVAILABLE'])
  expect(await ask()).toBe('NOT_REGISTERED')
})
