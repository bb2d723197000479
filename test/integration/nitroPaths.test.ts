/** A path is validated and not only its signatures: every constraint, alone, on chain and in the client, with a cold and a cached chain. @module */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueCertificate, type KeyedCertificate } from '#node/attesters/developmentCertificate.ts'
import { fromHex, toHex } from '#protocol/bytes.ts'
import { type DerTree, derAt, derLeaf } from '../support/derTree.ts'
import { type EvidenceChain, startEvidenceChain } from '../support/evidenceChain.ts'
import {
  COLD,
  DEVELOPMENT_ROOT,
  documentOf,
  GOOD,
  hintsOr,
  IDS,
  NOW,
  ROOT,
  TIME,
  underCached,
  WARM,
} from '../support/goodChain.ts'
import { askClient } from '../support/mutations.ts'
import { issueLeaf, reissue, rootIssuer } from '../support/oddEvidence.ts'

const HOUR = 3_600
const [REGIONAL, ZONAL, INSTANCE] = GOOD.authorities

let chain: EvidenceChain
beforeAll(async () => {
  chain = await startEvidenceChain(ROOT, NOW)
})
afterAll(() => chain?.close())

type Fault = {
  readonly name: string
  readonly code: string
  readonly leaf?: Pick<KeyedCertificate, 'certificate' | 'key'>
  readonly bundle?: readonly Uint8Array[]
}

/** Children of a certificate's list of extensions. */
const EXTENSIONS = [7, 0] as const
const NO_SERIAL = derLeaf(0x02, '0x01')

function faults(): Fault[] {
  const { bundle, leaf } = GOOD
  const underRoot = issueLeaf(rootIssuer(DEVELOPMENT_ROOT), NOW)
  const extra = issueCertificate({ role: 'instance', commonName: 'extra', nowSeconds: NOW, issuer: INSTANCE })
  const stranger = issueCertificate({ role: 'root', commonName: 'stranger', nowSeconds: NOW })
  const instance = (edit: (tbs: DerTree) => void) => {
    const edited = reissue(INSTANCE, edit)
    return { leaf: issueLeaf(edited, NOW), bundle: [...bundle.slice(0, 3), edited.certificate] }
  }
  const leafWith = (edit: (tbs: DerTree) => void) => ({ leaf: reissue(leaf, edit) })
  const unbounded = reissue(INSTANCE, (tbs) => setValue(tbs, 0, 2, '0x30030101ff'))
  const below = issueCertificate({ role: 'instance', commonName: 'below', nowSeconds: NOW, issuer: unbounded })
  return [
    { name: 'none', code: 'ACCEPTED' },
    {
      name: 'no CA between root and leaf, which is none',
      code: 'ACCEPTED',
      leaf: underRoot,
      bundle: bundle.slice(0, 1),
    },
    { name: 'a CA left out', code: 'CHAIN_NAME', bundle: [...bundle.slice(0, 2), INSTANCE.certificate] },
    {
      name: 'two CAs exchanged',
      code: 'CHAIN_NAME',
      bundle: [ROOT.certificate, ZONAL.certificate, REGIONAL.certificate, INSTANCE.certificate],
    },
    {
      name: 'a leaf under a name that only begins like its issuer',
      code: 'CHAIN_NAME',
      ...leafWith((tbs) => derAt(tbs, 3).children?.pop()),
    },
    {
      name: 'a leaf used as a CA',
      code: 'CHAIN_NOT_CA',
      leaf: issueLeaf(underRoot, NOW),
      bundle: [ROOT.certificate, underRoot.certificate],
    },
    {
      name: 'a CA without basic constraints',
      code: 'CHAIN_NOT_CA',
      ...instance((tbs) => derAt(tbs, ...EXTENSIONS).children?.shift()),
    },
    {
      name: 'a CA that may not sign certificates',
      code: 'CHAIN_KEY_USAGE',
      ...instance((tbs) => setValue(tbs, 1, 2, '0x03020780')),
    },
    {
      name: 'a CA without key usage',
      code: 'CHAIN_KEY_USAGE',
      ...instance((tbs) => derAt(tbs, ...EXTENSIONS).children?.splice(1, 1)),
    },
    {
      name: 'one CA below a CA that allows none',
      code: 'CHAIN_PATH_LENGTH',
      leaf: issueLeaf(extra, NOW),
      bundle: [...bundle, extra.certificate],
    },
    {
      name: 'two CAs below a CA that allows one, the first without a bound of its own',
      code: 'CHAIN_PATH_LENGTH',
      leaf: issueLeaf(below, NOW),
      bundle: [...bundle.slice(0, 3), unbounded.certificate, below.certificate],
    },
    { name: 'a CA as leaf', code: 'LEAF_IS_CA', leaf: INSTANCE, bundle: bundle.slice(0, 3) },
    { name: 'the root as leaf', code: 'LEAF_IS_CA', leaf: DEVELOPMENT_ROOT, bundle: bundle.slice(0, 1) },
    {
      name: 'a leaf that may not sign data',
      code: 'LEAF_KEY_USAGE',
      ...leafWith((tbs) => setValue(tbs, 1, 1, '0x03020640')),
    },
    {
      name: 'a leaf without key usage',
      code: 'LEAF_KEY_USAGE',
      ...leafWith((tbs) => derAt(tbs, ...EXTENSIONS).children?.pop()),
    },
    {
      name: 'a leaf by a stranger who has taken the name of the CA',
      code: 'BAD_CHAIN_SIGNATURE',
      leaf: issueLeaf({ key: stranger.key, subject: INSTANCE.subject }, NOW),
    },
    {
      name: 'a leaf whose signed part was changed after it was signed',
      code: 'BAD_CHAIN_SIGNATURE',
      leaf: reissue({ ...leaf, issuerKey: stranger.key }, (tbs) => tbs.children?.splice(1, 1, NO_SERIAL)),
    },
    {
      name: "a document by another key than the leaf's",
      code: 'BAD_DOCUMENT_SIGNATURE',
      leaf: { certificate: leaf.certificate, key: stranger.key },
    },
    { name: 'a leaf that has ended', code: 'CERTIFICATE_EXPIRED', leaf: issueLeaf(INSTANCE, NOW - 3 * HOUR - 1) },
    { name: 'a leaf that has not begun', code: 'CERTIFICATE_NOT_YET_VALID', leaf: issueLeaf(INSTANCE, NOW + HOUR) },
  ]
}

describe('a path with one fault', () => {
  it.each(faults())('$name: $code', async ({ code, leaf = GOOD.leaf, bundle = GOOD.bundle }) => {
    const document = documentOf({ certificate: leaf.certificate, key: leaf.key, bundle })
    expect(askClient(document, ROOT, TIME)).toBe(code)
    const hints = hintsOr(document, new Set(), COLD)
    expect((await chain.ask(document, hints, { time: TIME })).code, 'cold').toBe(code)
    // A refusal is a revert, never a value that a caller could forget to read.
    if (code !== 'ACCEPTED') await expect(chain.send('verify', [toHex(document), toHex(hints)])).rejects.toThrow()
    await underCached(chain, async () => {
      const warm = hintsOr(document, IDS, WARM)
      expect((await chain.ask(document, warm, { time: TIME })).code, 'under cached CA certificates').toBe(code)
    })
  })
})

/** Replaces the value of the extension at `index`, whose octet string is its child `at`. */
function setValue(tbs: DerTree, index: number, at: number, value: string): void {
  derAt(tbs, ...EXTENSIONS, index, at).content = fromHex(value)
}
