/**
 * Writes docs/storage-layout.json: where each deployed contract keeps each of its variables. Run `npm run generate` after a change to `contracts/`.
 * Nothing here is upgradeable; the layout decides what calls cost, and a diff of it is what a reviewer should see. @module
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import solc from 'solc'

/** Source file and contract of everything that keeps something. */
const CONTRACTS: readonly (readonly [file: string, contract: string])[] = [
  ['contracts/EnclaveRegistry.sol', 'EnclaveRegistry'],
  ['contracts/ReceiptSettlement.sol', 'ReceiptSettlement'],
  ['contracts/CreditVault.sol', 'CreditVault'],
  ['contracts/InferenceVerifier.sol', 'InferenceVerifier'],
  ['contracts/attestation/nitro/NitroVerifier.sol', 'NitroVerifier'],
]
const root = new URL('../', import.meta.url)

type Layout = {
  readonly storage: readonly {
    readonly label: string
    readonly slot: string
    readonly offset: number
    readonly type: string
  }[]
  readonly types: Readonly<Record<string, TypeLayout>> | null
}
type TypeLayout = { readonly label: string; readonly numberOfBytes: string; readonly members?: Layout['storage'] }
type Output = {
  readonly errors?: readonly { readonly severity: string; readonly formattedMessage: string }[]
  readonly contracts: Readonly<Record<string, Readonly<Record<string, { readonly storageLayout: Layout }>>>>
}

/** The file and its text. Throws an error with the compiler's words. */
export function generateStorageLayout(): { readonly file: URL; readonly text: string } {
  const output = compile()
  const contracts = CONTRACTS.map(([file, contract]) => {
    const layout = output.contracts[file]?.[contract]?.storageLayout
    if (layout === undefined) throw new Error(`${file} has no ${contract}`)
    const { variables, structs } = describe(layout)
    return [contract, { variables, structs }]
  })
  return {
    file: new URL('docs/storage-layout.json', root),
    text: `${JSON.stringify(Object.fromEntries(contracts), null, 2)}\n`,
  }
}

/** No code is made: the layout needs types only, which takes a second or two. */
function compile(): Output {
  const read = (path: string): string =>
    readFileSync(path.startsWith('@') ? fileURLToPath(import.meta.resolve(path)) : new URL(path, root), 'utf8')
  const input = {
    language: 'Solidity',
    sources: Object.fromEntries(CONTRACTS.map(([file]) => [file, { content: read(file) }])),
    settings: { evmVersion: 'osaka', viaIR: true, outputSelection: { '*': { '*': ['storageLayout'] } } },
  }
  const found = solc.compile(JSON.stringify(input), { import: (path: string) => ({ contents: read(path) }) })
  const output = JSON.parse(found) as Output
  const failure = output.errors?.find(({ severity }) => severity === 'error')
  if (failure !== undefined) throw new Error(failure.formattedMessage)
  return output
}

/** A line each: slot and byte in it, bytes, type, name. Structs once, with places inside of them. */
function describe({ storage, types }: Layout): {
  variables: readonly string[]
  structs: Readonly<Record<string, readonly string[]>>
} {
  const line = ({ label, slot, offset, type }: Layout['storage'][number]): string => {
    const { label: name = type, numberOfBytes = '?' } = types?.[type] ?? {}
    return `slot ${slot}, byte ${offset}: ${numberOfBytes} bytes, ${name} ${label}`
  }
  const structs = Object.values(types ?? {}).flatMap(({ label, members }) =>
    members === undefined ? [] : [[label, members.map(line)] as const],
  )
  return { variables: storage.map(line), structs: Object.fromEntries(structs) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { file, text } = generateStorageLayout()
  writeFileSync(file, text)
}
