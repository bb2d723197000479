/** Answers deposits: blind signatures for the outputs that a deposit's claim key signed, once. @module */

import { joinBytes } from '#protocol/bytes.ts'
import { totalUnits } from '#protocol/credits/amounts.ts'
import { CreditError } from '#protocol/credits/creditError.ts'
import { keysetPhase } from '#protocol/credits/keyset.ts'
import { hashIssueRequest } from '#protocol/credits/purchase.ts'
import { recoverSigner } from '#protocol/receipt/head.ts'
import type { IssueAnswer, IssueRequest } from '#protocol/wire/issuerApi.ts'
import { depositId } from './entry.ts'
import { IssuerError } from './issuerError.ts'
import { hashOutputs } from './outputsHash.ts'
import { type IssuerPorts, keysetOf, requireWriter } from './ports.ts'

/** Answers one deposit; a repeat answers the same. Throws `IssuerError`. */
export async function issue(ports: IssuerPorts, request: IssueRequest): Promise<IssueAnswer> {
  const { keyset, claimKey, outputs, signature } = request
  const { signer, terms } = keysetOf(ports, keyset)
  const isAscending = outputs.every(({ exponent }, i) => i === 0 || exponent >= (outputs[i - 1]?.exponent ?? 0))
  if (!isAscending) throw new IssuerError('BAD_REQUEST', 'expected outputs in ascending order, as the vault takes them')
  const outputsHash = await hashed(outputs)
  const signedBy = recoverSigner(hashIssueRequest({ keyset, claimKey, outputsHash }, ports.domain), signature)
  if (signedBy?.toLowerCase() !== claimKey) {
    throw new IssuerError('BAD_SIGNATURE', "expected the claim key's signature of these outputs")
  }
  const writer = requireWriter(ports, keyset)
  const units = totalUnits(outputs.map(({ exponent }) => exponent))
  const operation = { deposit: depositId(keyset, claimKey), outputs: outputsHash, units }
  const isNew = writer.ledger(keyset).decideIssue(operation).kind === 'append'
  if (isNew) {
    if (keysetPhase(terms, ports.now()) !== 'sign') {
      throw new IssuerError('WRONG_PHASE', 'this keyset does not answer deposits any more')
    }
    await checkDeposit(ports, request, units)
    // The chain took its time: the writer may be another by now.
    requireWriter(ports, keyset)
  }
  await writer.submit(keyset, (ledger) => ledger.decideIssue(operation), {
    detail: {
      kind: 'issue',
      keyset,
      claimKey,
      exponents: Uint8Array.from(outputs, ({ exponent }) => exponent),
      blinded: joinBytes(outputs.map(({ blinded }) => blinded)),
      signature,
    },
  })
  return { signatures: await signer.signBlanks(outputs) }
}

async function checkDeposit(ports: IssuerPorts, { keyset, claimKey }: IssueRequest, units: bigint): Promise<void> {
  const deposit = await ports.chain.deposit(keyset, claimKey)
  if (deposit === undefined) throw new IssuerError('NO_DEPOSIT', 'no such deposit is final yet')
  if (deposit.state !== 'open') throw new IssuerError('DEPOSIT_CLOSED', 'this deposit was asked back or answered')
  if (deposit.units !== units) {
    throw new IssuerError('WRONG_AMOUNT', `the deposit is worth ${deposit.units} units, the outputs ${units}`)
  }
}

async function hashed(outputs: IssueRequest['outputs']): ReturnType<typeof hashOutputs> {
  try {
    return await hashOutputs(outputs)
  } catch (cause) {
    if (!(cause instanceof CreditError)) throw cause
    throw new IssuerError('BAD_REQUEST', 'expected points that may be signed', { cause })
  }
}
