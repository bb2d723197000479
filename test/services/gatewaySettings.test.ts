/** A gateway's process with what only an enclave's host says: its settings when it starts, and that it shall end. @module */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { createDevelopmentRoot, serializeDevelopmentRoot } from '#node/attesters/developmentRoot.ts'
import { freePort } from '../support/freePort.ts'
import { REPOSITORY, writeGatewayConfig } from '../support/imageBuild.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-settings-'))
afterAll(() => rmSync(folder, { recursive: true }))
const ports = { public: await freePort(), agent: await freePort() }
const config = writeGatewayConfig(folder, ports, (given) => ({
  ...given,
  attester: { kind: 'development', rootFile: developmentRoot() },
  tick: { receipts: 4, seconds: 4 },
}))
const price = (units: string) => ({
  format: 'sealpath-prices/1',
  models: [
    {
      model: 'sealpath-demo-1m',
      source: 'measured',
      requestUnits: units,
      promptUnitsPerMillion: '1',
      completionUnitsPerMillion: '1',
    },
  ],
})

function developmentRoot(): string {
  const path = join(folder, 'root.json')
  writeFileSync(path, serializeDevelopmentRoot(createDevelopmentRoot(Math.floor(Date.now() / 1000))), { mode: 0o600 })
  return path
}

function start(settings: unknown) {
  const file = join(folder, 'settings.json')
  writeFileSync(file, JSON.stringify(settings))
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', 'gateway/main.ts'], {
    cwd: REPOSITORY,
    env: { PATH: process.env.PATH, SEALPATH_CONFIG: config, SEALPATH_SETTINGS: file },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let said = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  return { child, said: () => said, ended: once(child, 'exit') as Promise<[number | null, string | null]> }
}

it("serves at its host's prices, and ends when its host says so", async () => {
  const { child, said, ended } = start({ prices: price('77'), tick: { receipts: 8, seconds: 4 } })
  const [message] = await Promise.race([once(child, 'message'), ended])
  expect(message, said()).toBe('ready')
  const agent = `http://127.0.0.1:${ports.agent}`
  expect(await (await fetch(`${agent}/agent/prices`)).json()).toEqual(price('77'))
  const drain = await fetch(`${agent}/agent/drain`, { method: 'POST', body: '{}' })
  expect(drain.status).toBe(202)
  expect(await ended, said()).toEqual([0, null])
  expect(said()).toContain('"draining"')
})

it.each([
  ['another setting', { backends: [] }, 'is none of prices, tick, operator'],
  ['a finer tick than the image has', { tick: { receipts: 1, seconds: 4 } }, 'tick: expected at least'],
  ['a price of a model that the image has not', { prices: { format: 'sealpath-prices/1', models: [] } }, 'prices'],
])('does not start with %s', async (_, settings, reason) => {
  const { said, ended } = start(settings)
  expect(await ended, said()).toEqual([1, null])
  expect(said()).toContain("the host's settings are refused")
  expect(said()).toContain(reason)
})
