/**
 * PCRs of an enclave role that runs from source, for the development attester: what a measured image would contain, hashed file by file. Two
 * checkouts of the same source measure the same; one changed byte measures differently.
 * @module
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

/** What runs inside each role's enclave: its own code, the gateway's with its models, and what it imports. */
const MEASURED_FOLDERS = {
  gateway: ['gateway', 'offchain/node', 'offchain/protocol'],
  issuer: ['offchain/issuer', 'offchain/chain', 'offchain/node', 'offchain/protocol'],
} as const

export type MeasuredRole = keyof typeof MEASURED_FOLDERS

/** PCR0 covers the code and models, PCR1 and PCR2 stand for the kernel and the start-up that a real image has. 48 bytes each. */
export function measureSources(repository: string, role: MeasuredRole): Map<number, Uint8Array> {
  const code = createHash('sha384')
  for (const folder of MEASURED_FOLDERS[role]) {
    for (const path of measuredFiles(join(repository, folder))) {
      const digest = createHash('sha384').update(readFileSync(path)).digest()
      code.update(relative(repository, path)).update('\0').update(digest)
    }
  }
  return new Map([
    [0, new Uint8Array(code.digest())],
    [1, hashText('sealpath development kernel')],
    [2, hashText('sealpath development start-up')],
  ])
}

/** Files in a fixed order; tests and documents are not part of an image. */
function measuredFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return measuredFiles(path)
      return /\.(?:test\.ts|bench\.ts|md)$/.test(entry.name) ? [] : [path]
    })
}

function hashText(text: string): Uint8Array {
  return new Uint8Array(createHash('sha384').update(text).digest())
}
