import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Makes new and renamed entries of a folder durable. Systems that cannot open a folder do that by themselves. Throws what `node:fs` throws. */
export function syncFolder(path: string): void {
  let folder: number
  try {
    folder = openSync(path, 'r')
  } catch (error) {
    if (process.platform === 'win32') return
    throw error
  }
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
