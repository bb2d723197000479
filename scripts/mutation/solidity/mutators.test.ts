import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { nameMutants, shuffle } from '../trial.ts'
import { type Compiler, createCompiler } from './compiler.ts'
import { contractsWithCodeOf } from './dependents.ts'
import { type Edit, mutateSolidity } from './mutators.ts'
import { applyEdit } from './runContracts.ts'

const FILE = 'example/Purse.sol'
const LIBRARY = 'example/Halves.sol'
const HALVES = `// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

library Halves {
    function half(uint256 x) internal pure returns (uint256) { return x / 2; }
}
`
/** Not all of it ASCII, because solc counts in bytes. */
const SOURCE = `// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Halves} from "./Halves.sol";

// Für jeden ½ von ½.
contract Purse {
    event Paid(address to, uint256 amount);
    error TooMuch();
    uint256 public held = 5;

    modifier once() { _; }

    function pay(address to, uint256 amount) external once returns (bool) {
        require(amount <= held, TooMuch());
        if (amount == 0) return false;
        held -= amount;
        emit Paid(to, split(amount, held));
        return amount > 0 && to != address(0);
    }

    function split(uint256 a, uint256 b) private pure returns (uint256 c) {
        assembly { if lt(a, b) { c := add(a, 1) } }
        c = Halves.half(c);
    }
}

contract Other {
    function heldBy(Purse purse) external view returns (uint256) { return purse.held(); }
}

contract Maker {
    function make() external returns (Purse) { return new Purse(); }
}
`

let compiler: Compiler
let asts: ReadonlyMap<string, unknown>
let edits: readonly Edit[]
beforeAll(async () => {
  compiler = await createCompiler(fileURLToPath(new URL('../../../', import.meta.url)))
  asts = compiler.analyze([FILE], { [FILE]: SOURCE, [LIBRARY]: HALVES })
  edits = mutateSolidity(Buffer.from(SOURCE), asts.get(FILE))
})

/** Changes of one kind as `original -> replacement`. */
function changes(mutator: Edit['mutator']): readonly string[] {
  const source = Buffer.from(SOURCE)
  return edits
    .filter((edit) => edit.mutator === mutator)
    .map(({ start, end, replacement }) => `${source.subarray(start, end)} -> ${replacement}`)
}

describe('a contract is changed', () => {
  it('in each comparison, to its neighbour and to its contrary', () => {
    expect(changes('comparison')).toEqual(['<= -> <', '<= -> >', '== -> !=', '> -> >=', '> -> <=', '!= -> =='])
  })
  it('in what it computes', () => {
    expect(changes('arithmetic')).toEqual(['-= -> +='])
    expect(changes('logic')).toEqual([
      'amount > 0 && to != address(0) -> !(amount > 0 && to != address(0))',
      '&& -> ||',
    ])
  })
  it('by branches that are always taken or never', () => {
    expect(changes('condition')).toEqual(['amount == 0 -> true', 'amount == 0 -> false'])
  })
  it('by leaving out checks, events, modifiers and statements', () => {
    expect(changes('check removed')).toEqual(['require(amount <= held, TooMuch()); -> {}'])
    expect(changes('event removed')).toEqual(['emit Paid(to, split(amount, held)); -> {}'])
    expect(changes('modifier removed')).toEqual(['once -> '])
    expect(changes('statement removed')).toEqual(['held -= amount; -> {}', 'c = Halves.half(c); -> {}'])
    expect(changes('unchecked')).toEqual(['held -= amount; -> unchecked { held -= amount; }'])
  })
  it('in its literals and the order of its arguments', () => {
    expect(changes('literal')).toEqual([
      '5 -> (5 + 1)',
      '5 -> (5 - 1)',
      '0 -> (0 + 1)',
      'false -> true',
      '0 -> (0 + 1)',
      '0 -> (0 + 1)',
    ])
    expect(changes('argument order')).toEqual(['amount, held -> held, amount'])
  })
  it('in assembly', () => {
    expect(changes('assembly')).toEqual([
      'lt -> gt',
      'lt(a, b) -> 0',
      'lt(a, b) -> 1',
      'c := add(a, 1) -> ',
      'add -> sub',
      '1 -> 2',
    ])
  })
  it('into what compiles, to other code', () => {
    const contracts = [{ source: FILE, name: 'Purse' }]
    const codeOf = (text: string) => {
      const result = compiler.compile(contracts, 'quick', { [FILE]: text, [LIBRARY]: HALVES })
      return result.ok ? result.contracts[0]?.bytecode : result.errors[0]
    }
    const original = codeOf(SOURCE)
    expect(codeOf(`${SOURCE}// A remark.\n`)).toBe(original)
    const edit = edits.find(({ mutator }) => mutator === 'check removed')
    if (edit === undefined) throw new Error('expected a check to leave out')
    const changed = codeOf(applyEdit(Buffer.from(SOURCE), edit))
    expect(changed).toMatch(/^[0-9a-f]{100,}$/)
    expect(changed).not.toBe(original)
  })
})

it('contracts are compiled again for the libraries in them, not for contracts that they call', () => {
  const names = (file: string) => contractsWithCodeOf(file, asts).map(({ name }) => name)
  expect(names(LIBRARY)).toEqual(['Purse', 'Maker'])
  expect(names('elsewhere.sol')).toEqual([])
})

it('a sample is decided by the seed, and a larger one begins with the smaller', () => {
  const mutants = nameMutants(
    edits.map(({ mutator, place, start, replacement }) => ({
      file: FILE,
      line: 1,
      place,
      mutator,
      original: `${start}`,
      replacement,
    })),
  )
  expect(new Set(mutants.map(({ key }) => key)).size).toBe(edits.length)
  const keys = (seed: string) => shuffle(mutants, seed).map(({ key }) => key)
  expect(keys('a')).toEqual(keys('a'))
  expect(keys('a')).not.toEqual(keys('b'))
  expect([...keys('a')].sort()).toEqual(mutants.map(({ key }) => key).sort())
  // The order of the rest does not depend on what is not there.
  const half = mutants.slice(0, mutants.length / 2)
  const rest = new Set(half.map(({ key }) => key))
  expect(shuffle(half, 'a').map(({ key }) => key)).toEqual(keys('a').filter((key) => rest.has(key)))
})
