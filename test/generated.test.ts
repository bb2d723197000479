/** Generated files are what their generators write today. @module */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { generateAbis } from '../scripts/generateAbis.ts'
import { generateStorageLayout } from '../scripts/storageLayout.ts'

it('has the ABIs of the contracts as they are', () => {
  for (const { file, text } of generateAbis())
    expect(readFileSync(file, 'utf8') === text, 'run npm run generate').toBe(true)
})

it('has the storage layout of the contracts as they are', () => {
  const { file, text } = generateStorageLayout()
  expect(readFileSync(file, 'utf8')).toBe(text)
})
