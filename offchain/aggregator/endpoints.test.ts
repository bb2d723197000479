import type { PublicClient } from 'viem'
import { describe, expect, test } from 'vitest'
import { Endpoints, lowerMedian, reachedBy, upperMedian } from './endpoints.ts'

type Answer = bigint | undefined | 'stalls' | 'fails'

/** Endpoints that say what is listed, by the order of their answers. */
function endpointsOf(
  answers: readonly Answer[],
  quorum: number,
): [Endpoints, (client: PublicClient) => Promise<bigint | undefined>] {
  const clients = answers.map((_, i) => ({ key: String(i) }) as PublicClient)
  const read = (client: PublicClient): Promise<bigint | undefined> => {
    const answer = answers[Number(client.key)]
    if (answer === 'stalls') return new Promise(() => {})
    return answer === 'fails' ? Promise.reject(new Error('refused')) : Promise.resolve(answer)
  }
  return [new Endpoints(clients, quorum), read]
}

describe('what a quorum agrees on', () => {
  test.each<[string, Answer[], number, bigint | undefined]>([
    ['one endpoint is believed', [5n], 1, 5n],
    ['two say the same', [5n, 5n], 2, 5n],
    ['one of three lies', [7n, 5n, 5n], 2, 5n],
    ['one of three stalls', ['stalls', 5n, 5n], 2, 5n],
    ['one of three fails', ['fails', 5n, 5n], 2, 5n],
    ['two see nothing', [undefined, 5n, undefined], 2, undefined],
  ])('%s', async (_, answers, quorum, expected) => {
    const [endpoints, read] = endpointsOf(answers, quorum)
    expect(await endpoints.agreed(read)).toBe(expected)
  })

  test.each<[string, Answer[], string]>([
    ['two of two differ', [5n, 6n], 'RPC_DISAGREES'],
    ['three differ', [5n, 6n, 7n], 'RPC_DISAGREES'],
    ['two of three fail', ['fails', 'fails', 5n], 'RPC_FAILED'],
    ['one fails and two differ', ['fails', 6n, 5n], 'RPC_DISAGREES'],
  ])('nothing counts when %s', async (_, answers, code) => {
    const [endpoints, read] = endpointsOf(answers, 2)
    await expect(endpoints.agreed(read)).rejects.toMatchObject({ code, retryable: true })
  })

  test('is alike by the key that the caller names', async () => {
    const [endpoints, read] = endpointsOf([11n, 21n], 2)
    expect(await endpoints.agreed(read, (answer) => String((answer ?? 0n) % 10n))).toBe(21n)
  })
})

describe('what several say', () => {
  test('comes from all that answer', async () => {
    const [endpoints, read] = endpointsOf([5n, 6n, 'fails'], 2)
    expect(await endpoints.several(read)).toEqual([5n, 6n])
  })

  test('does not wait for one that stalls', async () => {
    const [endpoints, read] = endpointsOf([5n, 'stalls', 7n], 2)
    expect(await endpoints.several(read)).toEqual([5n, 7n])
  })

  test('is nothing without a quorum', async () => {
    const [endpoints, read] = endpointsOf([5n, 'fails', 'fails'], 2)
    await expect(endpoints.several(read)).rejects.toMatchObject({ code: 'RPC_FAILED' })
  })
})

describe('what the first says', () => {
  test('is enough, whoever stalls', async () => {
    const [endpoints, read] = endpointsOf(['stalls', undefined, 7n], 2)
    expect(await endpoints.first(read)).toBe(7n)
  })

  test('is nothing when a quorum has nothing to say', async () => {
    const [endpoints, read] = endpointsOf([undefined, 'fails', undefined], 2)
    expect(await endpoints.first(read)).toBeUndefined()
  })

  test('fails when too few answer', async () => {
    const [endpoints, read] = endpointsOf([undefined, 'fails', 'fails'], 2)
    await expect(endpoints.first(read)).rejects.toMatchObject({ code: 'RPC_FAILED' })
  })
})

test('a quorum is of the endpoints there are', () => {
  expect(() => endpointsOf([5n], 2)).toThrow('a quorum')
  expect(() => endpointsOf([5n], 0)).toThrow('a quorum')
})

test('no single number decides', () => {
  expect(reachedBy(2, [90n, 10n, 12n])).toBe(12n)
  expect(reachedBy(2, [90n])).toBeUndefined()
  expect([upperMedian([1n, 9n]), upperMedian([1n, 900n, 9n]), upperMedian([4n])]).toEqual([9n, 9n, 4n])
  expect([lowerMedian([1n, 9n]), lowerMedian([1n, 900n, 9n]), lowerMedian([4n])]).toEqual([1n, 9n, 4n])
})
