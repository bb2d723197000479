/**
 * The client for browsers, as files that need nothing else: `sealpath.js` for everybody, and two that it loads when they are needed, `wallet.js` for
 * who pays, `hpke-noble.js` where the browser lacks an algorithm. @module
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'

const sdk = fileURLToPath(new URL('../offchain/sdk/', import.meta.url))

/** What of `@panva/hpke-noble` webSuites.ts asks for. */
const NOBLE =
  "export { AEAD_AES_128_GCM, AEAD_ChaCha20Poly1305, KEM_DHKEM_X25519_HKDF_SHA256, KEM_MLKEM768_X25519 } from '@panva/hpke-noble'"
const WALLET = "export * from './wallet/account.ts'\nexport { openPayer } from './wallet/openPayer.ts'"

/** Each file with what it leaves to another one. Errors stay in one, so that a class is the same class for all. */
const FILES: readonly {
  readonly file: string
  readonly source: string
  readonly leaves: Readonly<Record<string, RegExp>>
}[] = [
  {
    file: 'sealpath.js',
    source: "export * from './connect.ts'",
    leaves: { './wallet.js': /\/wallet\/openPayer\.ts$/, './hpke-noble.js': /^@panva\/hpke-noble$/ },
  },
  {
    file: 'wallet.js',
    source: WALLET,
    leaves: { './sealpath.js': /\/errors\.ts$/, './hpke-noble.js': /^@panva\/hpke-noble$/ },
  },
  { file: 'hpke-noble.js', source: NOBLE, leaves: {} },
]

/** Types are those of the same modules in `offchain`, which stands beside the folder. */
const TYPES: Readonly<Record<string, string>> = {
  'sealpath.d.ts': "export * from '../offchain/sdk/connect.js'\n",
  'wallet.d.ts': "export * from '../offchain/sdk/wallet/account.js'\n",
}

/** Writes the files into `folder`, which is made where it is missing. */
export async function buildBrowser(folder: string): Promise<void> {
  for (const { file, source, leaves } of FILES) {
    await build({
      stdin: { contents: source, resolveDir: sdk, loader: 'ts' },
      outfile: `${folder}/${file}`,
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      target: 'es2022',
      logLevel: 'error',
      plugins: [leaving(leaves)],
    })
  }
  for (const [file, text] of Object.entries(TYPES)) writeFileSync(`${folder}/${file}`, text)
}

function leaving(leaves: Readonly<Record<string, RegExp>>): Plugin {
  return {
    name: 'leaves-to-other-files',
    setup({ onResolve }) {
      for (const [path, filter] of Object.entries(leaves)) onResolve({ filter }, () => ({ path, external: true }))
    },
  }
}
