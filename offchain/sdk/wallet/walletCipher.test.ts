/** How much a wallet's file may hold. What else it promises: wallet.test.ts. @module */
import { expect, it } from 'vitest'
import { WireError } from '#protocol/wire/json.ts'
import { openWalletCipher } from './walletCipher.ts'

/** 64 MiB without the tag. */
const TEXT_BYTES = 67_108_848

it('reads the longest file that it writes, and writes none that it would not read', async () => {
  const cipher = await openWalletCipher('correct horse')
  const file = await cipher.encrypt(' '.repeat(TEXT_BYTES))
  expect((await cipher.decrypt(file)).length).toBe(TEXT_BYTES)
  await expect(cipher.encrypt(' '.repeat(TEXT_BYTES + 1))).rejects.toMatchObject({ code: 'TOO_LARGE' })
  // Of one byte more: as many letters, the last of which says more.
  const longer = file.replace(/"text":"([^"]*)"/, (_, text: string) => `"text":"${text.slice(0, -3)}AA="`)
  expect(longer.length).toBe(file.length)
  await expect(cipher.decrypt(longer)).rejects.toThrow(WireError)
})
