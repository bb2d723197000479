import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Processes, type StartError } from './processes.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealpath-processes-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a child whose program is `script` until it crashes, and answers what a person is told. */
function crashOf(script: string): Promise<string> {
  return new Promise((resolve) => {
    const processes = new Processes(folder, (error: StartError) => resolve(error.message))
    processes.start('relay', process.execPath, ['-e', script])
  })
}

describe('a child that crashes', () => {
  it('is named in one sentence with the reason of its last log entry', async () => {
    const reason = JSON.stringify({ level: 'error', event: 'start failed', reason: 'the disk is full' })
    const sentence = await crashOf(`console.error(${JSON.stringify(reason)}); process.exitCode = 3`)
    expect(sentence).toBe('relay stopped by itself (exit code 3): the disk is full')
  })

  it('is named with its error when it logged none', async () => {
    expect(await crashOf(`throw new Error('no such thing')`)).toContain('relay stopped by itself (exit code 1): ')
  })

  it('is named when its program is missing', async () => {
    const sentence = await new Promise<string>((resolve) => {
      new Processes(folder, (error) => resolve(error.message)).start('chain', join(folder, 'nothing'), [])
    })
    expect(sentence).toContain('chain could not be started')
  })

  it('is not reported when it was told to stop, and takes nothing new after that', async () => {
    const crashes: string[] = []
    const processes = new Processes(folder, (error) => crashes.push(error.message))
    processes.start('gateway', process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    await processes.stopAll(1_000)
    expect(crashes).toEqual([])
    expect(() => processes.start('late', process.execPath, [])).toThrow('everything is stopping')
  })
})
