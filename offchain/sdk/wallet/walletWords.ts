/**
 * A wallet's seed as 24 words: the seed is the 32 bytes of entropy that BIP-39 writes as words, not what BIP-39 derives from them with a passphrase.
 * @module
 */
import { entropyToMnemonic, mnemonicToEntropy } from '@scure/bip39'
import { wordlist } from '@scure/bip39/wordlists/english'
import { SEED_BYTES } from '#protocol/credits/derivation.ts'

/** The words of a seed of 32 bytes. */
export function wordsOf(seed: Uint8Array): string {
  return entropyToMnemonic(seed, wordlist)
}

/** The seed of these words, however they are spaced; undefined when they are not 24 words with a right checksum. */
export function seedOf(words: string): Uint8Array | undefined {
  try {
    const seed = mnemonicToEntropy(words.trim().toLowerCase().split(/\s+/).join(' '), wordlist)
    return seed.length === SEED_BYTES ? new Uint8Array(seed) : undefined
  } catch {
    // The library's own error quotes the words.
    return undefined
  }
}
