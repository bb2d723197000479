/** What processes with an environment of their own take from ours all the same. @module */

/** Where Node keeps what it compiled: with it a process starts in half the time. */
export function compileCache(): Readonly<Record<string, string>> {
  const folder = process.env.NODE_COMPILE_CACHE
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: folder }
}
