/** Generated files are what their generators write today. @module */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { ABIS_FILE, generateAbis } from '../scripts/generateAbis.ts'

it('has the ABIs of the contracts as they are', () => {
  expect(readFileSync(ABIS_FILE, 'utf8') === generateAbis(), 'run npm run generate').toBe(true)
})
