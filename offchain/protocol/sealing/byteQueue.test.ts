import fc from 'fast-check'
import { expect, it } from 'vitest'
import { concatBytes } from '../bytes.ts'
import { ByteQueue } from './byteQueue.ts'

it('gives back the appended bytes in order, and taken views never change', () => {
  const operation = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.nat(25))
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const queue = new ByteQueue()
      const [appended, taken]: [Uint8Array[], Uint8Array[]] = [[], []]
      for (const next of operations) {
        if (typeof next === 'number') taken.push(queue.take(next))
        else {
          queue.append(next)
          appended.push(next)
        }
      }
      const rest = queue.length
      taken.push(queue.take(rest))
      expect(concatBytes(...taken)).toEqual(concatBytes(...appended))
      expect(queue.length).toBe(0)
    }),
  )
})

it('peeks behind the front without taking', () => {
  const queue = new ByteQueue()
  queue.append(Uint8Array.of(1, 0x40))
  expect(queue.peekVarint(1)).toBeUndefined()
  queue.append(Uint8Array.of(9))
  expect(queue.peekVarint(1)).toEqual({ value: 9, size: 2 })
  expect(queue.peekVarint(3)).toBeUndefined()
  expect(queue.length).toBe(3)
  queue.skip(1)
  expect(queue.peekVarint()).toEqual({ value: 9, size: 2 })
})
