/**
 * Keeps an account in this browser: encrypted under a key that WebCrypto lets nobody read out, both in IndexedDB. Whoever can run this page's code in this browser profile
 * can spend from it; a copy of the database's files alone opens nothing without the browser. @module
 */
import { decodeUtf8, encodeUtf8 } from '#protocol/bytes.ts'
import type { AccountStore } from '../../sdk/wallet/account.ts'
import { parseAccount, serializeAccount } from '../../sdk/wallet/accountState.ts'

export type BrowserStore = AccountStore & {
  /** Forgets the account, its key first. */
  remove(): Promise<void>
}

type Kept = { readonly key: CryptoKey; readonly nonce: Uint8Array<ArrayBuffer>; readonly text: ArrayBuffer }

const DATABASE = 'sealpath'
const WALLETS = 'wallets'
const NONCE_BYTES = 12

/** The place of the account `name`; others stand beside it. Throws `DOMException` where the browser keeps nothing. */
export async function openBrowserStore(name: string): Promise<BrowserStore> {
  const database = await openDatabase()
  // What is encrypted for one name opens under no other.
  const additionalData = encodeUtf8(name)
  let key: CryptoKey | undefined
  return {
    async load() {
      const kept = (await done(database.transaction(WALLETS).objectStore(WALLETS).get(name))) as Kept | undefined
      if (kept === undefined) return undefined
      key = kept.key
      const cipher = { name: 'AES-GCM', iv: kept.nonce, additionalData }
      return parseAccount(decodeUtf8(new Uint8Array(await crypto.subtle.decrypt(cipher, key, kept.text))))
    },
    async save(state) {
      key ??= await crypto.subtle.generateKey({ name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])
      const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
      const cipher = { name: 'AES-GCM', iv: nonce, additionalData }
      const text = await crypto.subtle.encrypt(cipher, key, encodeUtf8(serializeAccount(state)))
      // On the disk when it resolves: what was signed or spent must not be forgotten.
      const change = database.transaction(WALLETS, 'readwrite', { durability: 'strict' })
      change.objectStore(WALLETS).put({ key, nonce, text } satisfies Kept, name)
      await completed(change)
    },
    async remove() {
      const change = database.transaction(WALLETS, 'readwrite', { durability: 'strict' })
      change.objectStore(WALLETS).delete(name)
      await completed(change)
      key = undefined
    },
  }
}

function openDatabase(): Promise<IDBDatabase> {
  const opening = indexedDB.open(DATABASE, 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore(WALLETS)
  return done(opening)
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
}

function completed(change: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    change.oncomplete = () => resolve()
    change.onabort = () => reject(change.error)
  })
}
