/** Archives, as GNU tar and an independent reader see them. @module */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { encodeCpio, encodeTar } from './archive.ts'
import { ImageTree, listEntries } from './imageTree.ts'

const MTIME = 1_700_000_000

function sample(): ImageTree {
  const tree = new ImageTree()
  tree.addFile('b/file', Buffer.from('contents'))
  tree.addFile('a-program', Buffer.from('#!/bin/sh\n'), { isExecutable: true })
  tree.addFile('b/empty', new Uint8Array())
  tree.addLink('b/link', '../a-program')
  tree.addDevice('dev/console', 5, 1)
  tree.addFile(`${'long/'.repeat(30)}name`, Buffer.alloc(513, 7))
  return tree
}

describe.skipIf(process.platform !== 'linux')('a tar archive', () => {
  it('lists under GNU tar what is in it: everything of root, at one time', () => {
    const env = { LC_ALL: 'C', TZ: 'UTC', PATH: process.env.PATH }
    const input = encodeTar(sample().entries(), MTIME)
    const lines = execFileSync('tar', ['-tv', '--full-time', '--numeric-owner'], { input, env }).toString().split('\n')
    const wanted = [
      '-rwxr-xr-x 0/0 10 2023-11-14 22:13:20 a-program',
      'drwxr-xr-x 0/0 0 2023-11-14 22:13:20 b/',
      '-rw-r--r-- 0/0 0 2023-11-14 22:13:20 b/empty',
      '-rw-r--r-- 0/0 8 2023-11-14 22:13:20 b/file',
      'lrwxrwxrwx 0/0 0 2023-11-14 22:13:20 b/link -> ../a-program',
      'drwxr-xr-x 0/0 0 2023-11-14 22:13:20 dev/',
      'crw------- 0/0 5,1 2023-11-14 22:13:20 dev/console',
      `-rw-r--r-- 0/0 513 2023-11-14 22:13:20 ${'long/'.repeat(30)}name`,
    ]
    const found = lines.map((line) => line.replace(/ +/g, ' '))
    expect(found).toEqual(expect.arrayContaining(wanted))
    expect(found.filter((line) => line !== '').length).toBe(wanted.length + 30)
  })

  it('gives the contents back', () => {
    const input = encodeTar(sample().entries(), MTIME)
    const get = (path: string) => execFileSync('tar', ['-xO', path], { input })
    expect(get('b/file').toString()).toBe('contents')
    expect(get(`${'long/'.repeat(30)}name`).equals(Buffer.alloc(513, 7))).toBe(true)
  })

  it('holds no path that does not fit', () => {
    const tree = new ImageTree()
    tree.addFile('x'.repeat(101), new Uint8Array())
    expect(() => encodeTar(tree.entries(), MTIME)).toThrow(expect.objectContaining({ code: 'PATH_TOO_LONG' }))
  })
})

describe('a cpio archive', () => {
  it('has, field by field, what is in it, and ends as Linux wants', () => {
    const entries = readCpio(encodeCpio(sample().entries(), MTIME))
    const last = entries.pop()
    expect(last).toMatchObject({ path: 'TRAILER!!!', mode: 0 })
    const common = { uid: 0, gid: 0, links: 1, mtime: MTIME }
    expect(entries.filter(({ path }) => !path.startsWith('long'))).toEqual([
      { ...common, path: 'a-program', mode: 0o100755, device: '0:0', content: '#!/bin/sh\n' },
      { ...common, path: 'b', mode: 0o40755, device: '0:0', content: '' },
      { ...common, path: 'b/empty', mode: 0o100644, device: '0:0', content: '' },
      { ...common, path: 'b/file', mode: 0o100644, device: '0:0', content: 'contents' },
      { ...common, path: 'b/link', mode: 0o120777, device: '0:0', content: '../a-program' },
      { ...common, path: 'dev', mode: 0o40755, device: '0:0', content: '' },
      { ...common, path: 'dev/console', mode: 0o20600, device: '5:1', content: '' },
    ])
    expect(entries.at(-1)).toMatchObject({ path: `${'long/'.repeat(30)}name`, content: '\x07'.repeat(513) })
  })
})

describe('a tree', () => {
  it('is listed in one order, whatever the order in which it was filled', () => {
    const [one, other] = [new ImageTree(), new ImageTree()]
    const paths = ['a/b', 'a.b', 'a-b', 'a/b.c', 'B']
    for (const path of paths) one.addFile(path, Buffer.from(path))
    for (const path of paths.toReversed()) other.addFile(path, Buffer.from(path))
    expect(listEntries(one.entries())).toBe(listEntries(other.entries()))
    expect(one.entries().map(({ path }) => path)).toEqual(['B', 'a', 'a/b', 'a/b.c', 'a-b', 'a.b'])
  })

  it.each(['/etc/x', '../x', 'a/../b', './a', 'a//b', 'a/', '', '..', '.'])('takes no path like "%s"', (path) => {
    expect(() => new ImageTree().addFile(path, new Uint8Array())).toThrow(expect.objectContaining({ code: 'BAD_PATH' }))
  })

  it('takes no path twice, and none below a file', () => {
    const tree = sample()
    const twice = expect.objectContaining({ code: 'PATH_TWICE' })
    expect(() => tree.addFile('b/file', new Uint8Array())).toThrow(twice)
    expect(() => tree.addFile('b', new Uint8Array())).toThrow(twice)
    expect(() => tree.addFile('b/file/below', new Uint8Array())).toThrow(twice)
    expect(() => tree.addFile('b/link/below', new Uint8Array())).toThrow(twice)
  })
})

/** Reads a "newc" archive from its description: nothing here is shared with the writer. */
function readCpio(bytes: Uint8Array): ({ path: string } & Record<string, unknown>)[] {
  const buffer = Buffer.from(bytes)
  const found: ReturnType<typeof readCpio> = []
  let at = 0
  const aligned = (position: number) => Math.ceil(position / 4) * 4
  while (at < buffer.length) {
    expect(buffer.toString('latin1', at, at + 6)).toBe('070701')
    const field = (index: number) =>
      Number.parseInt(buffer.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16)
    const [mode, uid, gid, links, mtime, size] = [1, 2, 3, 4, 5, 6].map(field)
    const nameBytes = field(11)
    const path = buffer.toString('latin1', at + 110, at + 110 + nameBytes - 1)
    const start = aligned(at + 110 + nameBytes)
    const content = buffer.toString('latin1', start, start + (size ?? 0))
    found.push({ path, mode, uid, gid, links, mtime, device: `${field(9)}:${field(10)}`, content })
    at = aligned(start + (size ?? 0))
  }
  return found
}
