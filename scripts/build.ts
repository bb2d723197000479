/**
 * Builds what is published: dist/ with JavaScript and types of gateway and offchain, the client for browsers, and the shipped model. Sources run as they are in a
 * checkout, but Node strips no types below node_modules. @module
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildBrowser } from './browserBuild.ts'

const root = new URL('../', import.meta.url)
const dist = new URL('dist/', root)

rmSync(dist, { recursive: true, force: true })
compile()
writePackage()
await buildBrowser(fileURLToPath(new URL('browser', dist)))
cpSync(new URL('gateway/models', root), new URL('gateway/models', dist), { recursive: true })
cpSync(new URL('offchain/operator/page', root), new URL('offchain/operator/page', dist), {
  recursive: true,
  filter: (path) => !path.endsWith('.ts'),
})
const cli = fileURLToPath(new URL('offchain/cli/main.js', dist))
chmodSync(cli, 0o755)

/**
 * The compiler rewrites relative imports to .js. It says TS2877 of `#protocol/….ts` and the like because it leaves them alone; that is
 * meant: the imports map of dist/package.json sends them to the compiled files.
 */
function compile(): void {
  const compiler = fileURLToPath(new URL('node_modules/typescript/bin/tsc', root))
  const { stdout } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json', '--pretty', 'false'], {
    cwd: fileURLToPath(root),
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  const errors = stdout.split('\n').filter((line) => /error TS(?!2877)/.test(line))
  if (errors.length === 0) return
  process.stderr.write(`${errors.join('\n')}\n`)
  process.exit(1)
}

/** The nearest package.json of the built files: same internal names, other extension. */
function writePackage(): void {
  const folders = ['protocol', 'node', 'chain']
  const imports = Object.fromEntries(
    folders.map((folder) => [
      `#${folder}/*.ts`,
      { types: `./offchain/${folder}/*.d.ts`, default: `./offchain/${folder}/*.js` },
    ]),
  )
  mkdirSync(dist, { recursive: true })
  writeFileSync(new URL('package.json', dist), `${JSON.stringify({ type: 'module', imports }, null, 2)}\n`)
}
