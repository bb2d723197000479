/** Fragments and the pages they name. @module */
import { expect, it } from 'vitest'
import { linkTo, parsePlace } from './route.ts'

const ENCLAVE = `0x${'Ab'.repeat(20)}`

it.each([
  ['', { page: 'network' }],
  ['#/', { page: 'network' }],
  ['#/chat', { page: 'chat' }],
  ['#/receipt', { page: 'receipt' }],
  ['#/sources', { page: 'sources' }],
  [`#/enclave/${ENCLAVE}`, { page: 'enclave', enclave: ENCLAVE.toLowerCase() }],
  ['#/batch/12', { page: 'batch', batch: 12n }],
  ['#/batch/-1', { page: 'unknown' }],
  ['#/batch/1/2', { page: 'unknown' }],
  ['#/enclave/0x12', { page: 'unknown' }],
  ['#/receipt/1', { page: 'unknown' }],
  ['#/elsewhere', { page: 'unknown' }],
])('reads %j', (fragment, route) => {
  expect(parsePlace(fragment).route).toEqual(route)
})

it('keeps where to read from in every link', () => {
  const { overrides } = parsePlace('#/?rpc=https%3A%2F%2Fchain.test%2F%3Fkey%3Dvalue')
  expect(overrides.get('rpc')).toBe('https://chain.test/?key=value')
  const link = linkTo('/batch/3', overrides)
  expect(parsePlace(link)).toEqual({ route: { page: 'batch', batch: 3n }, overrides })
  expect(linkTo('/receipt', new URLSearchParams())).toBe('#/receipt')
})
