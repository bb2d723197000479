/** Which page the fragment names: `#/enclave/0x…?rpc=…`. What follows the question mark says where to read from and stays from page to page. @module */
import type { Hex } from '#protocol/bytes.ts'

export type Route =
  | { readonly page: 'network' | 'chat' | 'receipt' | 'sources' | 'unknown' }
  | { readonly page: 'enclave'; readonly enclave: Hex }
  | { readonly page: 'batch'; readonly batch: bigint }

export type Place = { readonly route: Route; readonly overrides: URLSearchParams }

/** `fragment` as `location.hash` has it, with or without the #. */
export function parsePlace(fragment: string): Place {
  const [path = '', query = ''] = splitOnce(fragment.replace(/^#/, ''))
  return { route: parsePath(path), overrides: new URLSearchParams(query) }
}

/** The fragment that leads to `path` and keeps `overrides`. */
export function linkTo(path: string, overrides: URLSearchParams): string {
  const query = overrides.toString()
  return `#${path}${query === '' ? '' : `?${query}`}`
}

function parsePath(path: string): Route {
  const [, page = '', id = '', ...more] = path.split('/')
  if (more.length > 0) return { page: 'unknown' }
  if (page === 'enclave' && /^0x[0-9a-fA-F]{40}$/.test(id)) return { page, enclave: id.toLowerCase() as Hex }
  if (page === 'batch' && /^[0-9]{1,18}$/.test(id)) return { page, batch: BigInt(id) }
  if (id !== '') return { page: 'unknown' }
  if (page === '' || page === 'network') return { page: 'network' }
  return page === 'chat' || page === 'receipt' || page === 'sources' ? { page } : { page: 'unknown' }
}

function splitOnce(text: string): [string, string] {
  const at = text.indexOf('?')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
