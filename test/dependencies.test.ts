/** Each package that we build on is there for a reason that is written down, and runs nothing when it is installed unless that is said. @module */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8')

type Packages = Readonly<Record<string, string>>
const { dependencies, devDependencies, optionalDependencies, allowScripts } = JSON.parse(read('package.json')) as {
  readonly dependencies: Packages
  readonly devDependencies: Packages
  readonly optionalDependencies: Packages
  readonly allowScripts: Readonly<Record<string, boolean>>
}
const LOCKED = (
  JSON.parse(read('package-lock.json')) as {
    readonly packages: Readonly<Record<string, { readonly hasInstallScript?: true; readonly optional?: true }>>
  }
).packages

it.each(
  Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies }).filter(
    (name) => !name.startsWith('@types/'),
  ),
)('ARCHITECTURE.md says why there is %s', (name) => {
  const text = read('ARCHITECTURE.md')
  // Hardhat's plug-ins are spoken of together.
  if (name.startsWith('@nomicfoundation/hardhat-'))
    expect(text).toContain('`hardhat` with its viem, ethers and Ignition plug-ins')
  else expect(text).toContain(`\`${name}\``)
})

it('every version is exact', () => {
  for (const version of Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies })) {
    expect(version).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
  }
})

it('no package needs an install script but those that are named', () => {
  const withScripts = Object.entries(LOCKED)
    .filter(([, { hasInstallScript }]) => hasInstallScript)
    .map(([path]) => path.replace(/^.*node_modules\//, ''))
  const allowed = Object.keys(allowScripts)
  // Of one package for many platforms, one is named.
  const isNamed = (name: string) => allowed.some((each) => each === name || each.split('/')[0] === name.split('/')[0])
  // They bring what is ready to run; their scripts look for it or build it where it is missing.
  const notRun = ['koffi', '@swc/core']
  expect(withScripts.filter((name) => !isNamed(name) && !notRun.includes(name))).toEqual([])
})
