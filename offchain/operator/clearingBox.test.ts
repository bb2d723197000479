import { expect, test } from 'vitest'
import type { Hex } from '#protocol/bytes.ts'
import type { SignedClearing } from '#protocol/wire/agentApi.ts'
import { ClearingBox } from './clearingBox.ts'

const hashOf = (byte: string): Hex => `0x${byte.repeat(32)}`
const clearing = (keyset: string, r: string): SignedClearing => ({
  keyset: hashOf(keyset),
  issued: 5n,
  captured: 1n,
  enclaves: [],
  r: hashOf(r),
  vs: hashOf('00'),
})

test('is due at each aggregator until that one has acknowledged it', () => {
  const box = new ClearingBox()
  const [first, second] = [clearing('a1', '01'), clearing('a2', '02')]
  box.replace([first, second])
  expect(box.due('a', 0)).toEqual([first, second])
  box.noteDelivered('a', first, 0)
  expect(box.due('a', 0)).toEqual([second])
  expect(box.due('b', 0)).toEqual([first, second])
})

test('is due again when a newer one of its keyset replaces it', () => {
  const box = new ClearingBox()
  box.replace([clearing('a1', '01')])
  box.noteDelivered('a', clearing('a1', '01'), 0)
  box.replace([clearing('a1', '03')])
  expect(box.due('a', 1)).toEqual([clearing('a1', '03')])
})

test('is repeated after ten minutes, and not before', () => {
  const box = new ClearingBox()
  box.replace([clearing('a1', '01')])
  box.noteDelivered('a', clearing('a1', '01'), 1_000)
  expect(box.due('a', 600_999)).toEqual([])
  expect(box.due('a', 601_000)).toHaveLength(1)
})

test('forgets what the enclave does not serve any more', () => {
  const box = new ClearingBox()
  box.replace([clearing('a1', '01')])
  box.replace([])
  expect(box.due('a', 0)).toEqual([])
})
