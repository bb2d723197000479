/** A wallet's store in memory, for tests: the state as text, as a file would have it. @module */
import type { WalletStore } from '../../offchain/sdk/wallet/wallet.ts'
import { parseState, serializeState, type WalletState } from '../../offchain/sdk/wallet/walletState.ts'

export class MemoryWalletStore implements WalletStore {
  text: string | undefined
  fails = false

  constructor(text?: string) {
    this.text = text
  }

  async load(): Promise<WalletState | undefined> {
    return this.text === undefined ? undefined : parseState(this.text)
  }

  async save(state: WalletState): Promise<void> {
    if (this.fails) throw new Error('the disk is full')
    this.text = serializeState(state)
  }
}
