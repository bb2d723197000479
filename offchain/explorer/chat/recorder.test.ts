/** How much of what passed is kept to be looked at. @module */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Recorder } from './recorder.ts'

let answerBytes = 0
beforeEach(() => void vi.stubGlobal('fetch', async () => new Response(new Uint8Array(answerBytes))))
afterEach(() => void vi.unstubAllGlobals())

async function recorded(bytes: number): Promise<[read: number, told: number | undefined, kept: number | undefined]> {
  answerBytes = bytes
  const recorder = new Recorder()
  const response = await recorder.fetch('http://relay/')
  const read = (await response.arrayBuffer()).byteLength
  const [exchange] = recorder.since(0)
  return [read, exchange?.responseBytes, exchange?.response().length]
}

it('keeps 8 MiB of an answer and not one byte more, whatever is read of it', async () => {
  expect(await recorded(8_388_608)).toEqual([8_388_608, 8_388_608, 8_388_608])
  expect(await recorded(8_388_609)).toEqual([8_388_609, 8_388_609, 0])
})

it('keeps 200 exchanges and forgets the oldest, which it has counted', async () => {
  answerBytes = 1
  const recorder = new Recorder()
  for (let i = 0; i < 201; i++) await recorder.fetch(`http://relay/${i}`)
  expect(recorder.count).toBe(201)
  expect(recorder.since(0).map(({ url }) => url.pathname)).toEqual(Array.from({ length: 200 }, (_, i) => `/${i + 1}`))
})
