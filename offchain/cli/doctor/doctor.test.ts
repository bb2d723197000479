/** What the doctor says and how; what it finds on a whole network is in test/e2e/doctor.test.ts. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { doctor } from '../commands/doctor.ts'
import { examine } from './examine.ts'
import { duration, failed, guarded, ok, toLines, warn } from './finding.ts'
import { checkFolder, checkNode, checkPort, endFinding } from './machine.ts'
import { checkClock, checkPeers } from './peers.ts'
import { recogniseRole } from './subject.ts'

const folder = mkdtempSync(join(tmpdir(), 'sealpath-doctor-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('a finding', () => {
  it('is one line with what to do, whatever others put into it', () => {
    expect(
      toLines([ok('node', 'it is there'), warn('key', 'open', 'close it'), failed('peer', 'a\n\x1b[31mb', 'c')]),
    ).toBe('ok      node: it is there\nwarn    key: open; close it\nFAILED  peer: a??[31mb; c\n')
  })

  it('is made of a check that breaks off', async () => {
    const check = () => Promise.reject(new Error('the first line\nand more'))
    expect(await guarded('disk', 'look', check)).toEqual([failed('disk', 'the first line', 'look')])
  })

  it.each([
    [0, '0 seconds'],
    [1, '1 second'],
    [-119, '119 seconds'],
    [120, '2 minutes'],
    [7_199, '120 minutes'],
    [172_800, '2 days'],
  ])('says %d seconds as %s', (seconds, words) => {
    expect(duration(seconds)).toBe(words)
  })
})

describe('the machine', () => {
  it('needs a Node.js that can do what we need', () => {
    expect(checkNode('24.1.0').state).toBe('ok')
    expect(checkNode('18.20.0').state).toBe('FAILED')
    expect(checkNode().state).toBe('ok')
  })

  it('can listen only on addresses of its own', async () => {
    const port = { setting: 'listen', path: '/', sign: '' }
    expect(await checkPort({ ...port, listen: { host: '192.0.2.1', port: 8_080 } })).toMatchObject({
      state: 'FAILED',
      found: expect.stringContaining('EADDRNOTAVAIL'),
    })
    expect(await checkPort({ ...port, listen: { host: '127.0.0.1', port: 0 } })).toMatchObject({ state: 'ok' })
  })

  it('has room where a folder will be', () => {
    const finding = checkFolder({ setting: 'dataFolder', folder: join(folder, 'not', 'yet') })
    expect(finding.found).toMatch(new RegExp(`GiB free at ${folder}$`))
  })

  it.each([
    [15, 'ok', 'it ends in 15 days'],
    [13, 'warn', 'it ends in 13 days'],
    [-3, 'FAILED', 'it ended 3 days ago'],
  ])('has a certificate that ends in %d days: %s', (days, state, found) => {
    expect(endFinding('certificate', 1_000_000 + days * 86_400, 1_000_000)).toMatchObject({ state, found })
  })
})

describe('the clock', () => {
  it.each([
    [[], 'ok'],
    [[29, -29], 'ok'],
    [[0, 31], 'FAILED'],
    [[-31], 'FAILED'],
  ])('against %j seconds is %s', (clocks, state) => {
    expect(checkClock(clocks.map((aheadSeconds) => ({ who: 'a peer', aheadSeconds }))).state).toBe(state)
  })

  it('is not asked of whoever does not answer', async () => {
    const peer = { what: 'gateway', url: 'http://127.0.0.1:1', path: '/ohttp-keys' }
    expect(await checkPeers([peer])).toMatchObject({ findings: [{ state: 'FAILED' }], clocks: [] })
  })
})

describe('a configuration', () => {
  it.each([
    ['gateway', { listen: {}, prices: {} }],
    ['relay', { listen: {}, gateways: [] }],
    ['issuer', { witnesses: {} }],
    ['aggregator', { accountKeyFiles: [] }],
    ['operator', { gatewayAgentUrl: '' }],
    [undefined, { listen: {} }],
    [undefined, null],
  ])('is recognised as that of a role %s', (role, value) => {
    expect(recogniseRole(value)).toBe(role)
  })

  it('that is no JSON is a finding', async () => {
    const path = join(folder, 'config.json')
    writeFileSync(path, '{')
    expect(await examine(path)).toMatchObject([{ state: 'ok' }, { state: 'FAILED', what: 'configuration' }])
    expect(await examine(join(folder, 'none.json'))).toMatchObject([{ state: 'ok' }, { state: 'FAILED' }])
  })

  it('of a role that there is not is wrong usage', async () => {
    await expect(doctor.run(['--config', 'x', '--role', 'janitor'])).rejects.toMatchObject({ name: 'UsageError' })
  })

  it('of a relay that runs nowhere has its lines for people', async () => {
    const path = join(folder, 'relay.json')
    const gateways = [{ name: 'g', url: 'http://127.0.0.1:1' }]
    writeFileSync(path, JSON.stringify({ listen: { host: '127.0.0.1', port: 0 }, operator: 'us', gateways }))
    let output = ''
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      output += String(text)
      return true
    })
    expect(await doctor.run(['--config', path])).toBe(1)
    spy.mockRestore()
    expect(output.split('\n').map((line) => line.slice(0, 6).trim())).toEqual([
      'ok',
      'ok',
      'ok',
      'ok',
      'ok',
      'FAILED',
      '',
    ])
    expect(output).toContain('FAILED  gateway g 127.0.0.1:1: nobody listens there; check its address')
  })
})
