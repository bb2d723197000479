/** The files by which services run: systemd and Compose read them, and every role is there. A tool that is missing is said. @module */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { ROLE_NAMES } from '../../offchain/cli/roleNames.ts'

const FOLDER = fileURLToPath(new URL('../../scripts/service/', import.meta.url))
const UNIT = 'sealpath@.service'
const COMPOSE = readdirSync(FOLDER).filter((name) => /^compose\.\w+\.yaml$/.test(name))
const ROLES: ReadonlySet<string> = new Set(ROLE_NAMES)

function isThere(tool: string): boolean {
  const found = spawnSync(tool, ['--version']).status === 0
  if (!found) process.stderr.write(`skipped: ${tool} is not installed\n`)
  return found
}

it.skipIf(!isThere('systemd-analyze'))('systemd reads the unit without a complaint', () => {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', `${FOLDER}${UNIT}`], { encoding: 'utf8' })
  expect([status, stdout, stderr]).toEqual([0, '', ''])
})

it.skipIf(!isThere('systemd-analyze'))('systemd would notice a misspelt setting', () => {
  const { stderr } = spawnSync('systemd-analyze', ['verify', '/dev/stdin'], {
    encoding: 'utf8',
    input: readFileSync(`${FOLDER}${UNIT}`, 'utf8').replace('NoNewPrivileges', 'NoNewPrivilege'),
  })
  expect(stderr).not.toBe('')
})

it.skipIf(!isThere('docker-compose')).each(COMPOSE)('Compose reads %s', (name) => {
  const { status, stderr } = spawnSync('docker-compose', ['--file', `${FOLDER}${name}`, 'config', '--quiet'], {
    encoding: 'utf8',
  })
  // The environment file is the operator's; it is not on this machine.
  expect(status === 0 || /Couldn't find env file: \/etc\/sealpath/.test(stderr) ? '' : stderr).toBe('')
})

it('every role has a Compose file that starts it', () => {
  const started = COMPOSE.flatMap((name) =>
    [
      ...readFileSync(`${FOLDER}${name}`, 'utf8').matchAll(
        /command: \[(\w+), --config, \/etc\/sealpath\/(\w+)\.json\]/g,
      ),
    ].map(([, role = '', config = '']) => [role, config] as const),
  )
  expect(new Set(started.map(([role]) => role))).toEqual(ROLES)
  for (const [role, config] of started) expect(config).toBe(role)
})
