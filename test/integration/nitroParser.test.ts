/** The contract's parsers against their TypeScript twins: the same documents and certificates accepted, the same codes for the others. @module */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { encodeFunctionData } from 'viem'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { toHex } from '#protocol/bytes.ts'
import { parseCertificate } from '#protocol/evidence/certificate.ts'
import { EvidenceError } from '#protocol/evidence/evidenceError.ts'
import { parseNitroDocument } from '#protocol/evidence/nitroDocument.ts'
import { deployArtifact } from '../support/artifacts.ts'
import { deployLocal, type LocalChain } from '../support/chain.ts'
import { readRefusal } from '../support/refusal.ts'

const VECTORS = new URL('../../../shared/vectors/nitro/', import.meta.url)
const FLIPS = 2_000
/** What a client checks while it parses and the contract when it uses the value. */
const CHECKED_LATER: ReadonlySet<string> = new Set(['CERTIFICATE_KEY', 'CERTIFICATE_SIGNATURE_FORMAT'])

let chain: LocalChain
let parser: Awaited<ReturnType<typeof deployArtifact>>
let documents: { name: string; bytes: Uint8Array }[]

beforeAll(async () => {
  chain = await deployLocal()
  parser = await deployArtifact(chain, 'test/contracts/support/NitroParser.sol/NitroParser.json')
  const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(7)]]), now: Date.now })
  documents = [{ name: 'development', bytes: await attester.attest({ userData: new Uint8Array(32).fill(9) }) }]
  if (!existsSync(VECTORS)) {
    process.stdout.write('skipped: real Nitro documents, because ../shared/vectors/nitro is not there\n')
    return
  }
  for (const name of readdirSync(VECTORS).filter((file) => file.endsWith('.bin'))) {
    documents.push({ name, bytes: new Uint8Array(readFileSync(new URL(name, VECTORS))) })
  }
})

afterAll(() => chain?.close())

/** The contract's verdict on the bytes: OK or the code. */
async function onChain(functionName: 'parseDocument' | 'parseCertificate', bytes: Uint8Array): Promise<string> {
  const data = encodeFunctionData({ abi: parser.abi, functionName, args: [toHex(bytes)] })
  try {
    await chain.client.request({ method: 'eth_call', params: [{ to: parser.address, data }, 'latest'] })
    return 'OK'
  } catch (error) {
    return readRefusal(error, parser.abi)
  }
}

function inTypeScript(parse: (bytes: Uint8Array) => unknown, bytes: Uint8Array): string {
  try {
    parse(bytes)
    return 'OK'
  } catch (error) {
    if (error instanceof EvidenceError) return error.code
    throw error
  }
}

async function expectSame(
  functionName: 'parseDocument' | 'parseCertificate',
  bytes: Uint8Array,
  what: string,
): Promise<void> {
  const parse = functionName === 'parseDocument' ? parseNitroDocument : parseCertificate
  const expected = inTypeScript(parse, bytes)
  const actual = await onChain(functionName, bytes)
  if (CHECKED_LATER.has(expected) && actual === 'OK') return
  expect(actual, what).toBe(expected)
}

/** A generator with a seed: the same flips in every run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

describe('the parsers on chain', () => {
  it('accept the same documents and certificates as the client', async () => {
    for (const { name, bytes } of documents) {
      await expectSame('parseDocument', bytes, name)
      if (inTypeScript(parseNitroDocument, bytes) !== 'OK') continue
      const { cabundle, certificate } = parseNitroDocument(bytes)
      for (const der of [...cabundle, certificate]) await expectSame('parseCertificate', der, name)
    }
  })

  it('refuse every cut of a document and a certificate with the same code', async () => {
    for (const { name, bytes } of documents.slice(0, 2)) {
      for (let length = 0; length < bytes.length; length += 37) {
        await expectSame('parseDocument', bytes.subarray(0, length), `${name} cut at ${length}`)
      }
      const der = parseNitroDocument(bytes).certificate
      for (let length = 0; length < der.length; length += 5) {
        await expectSame('parseCertificate', der.subarray(0, length), `leaf of ${name} cut at ${length}`)
      }
    }
  })

  it('say the same of flipped bits', async () => {
    const random = createRandom(20_261_121)
    for (const { name, bytes } of documents) {
      if (inTypeScript(parseNitroDocument, bytes) !== 'OK') continue
      const { cabundle, certificate } = parseNitroDocument(bytes)
      for (let i = 0; i < FLIPS / documents.length; i++) {
        await expectSame('parseDocument', flip(bytes, random(8 * bytes.length)), `${name}, flip ${i}`)
        const der = [...cabundle, certificate][random(cabundle.length + 1)] ?? certificate
        await expectSame('parseCertificate', flip(der, random(8 * der.length)), `certificate of ${name}, flip ${i}`)
      }
    }
  })

  it('refuse one byte too many', async () => {
    for (const { name, bytes } of documents) {
      await expectSame('parseDocument', Uint8Array.of(...bytes, 0), name)
    }
  })
})

function flip(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return flipped
}
