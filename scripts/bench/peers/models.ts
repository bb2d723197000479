/** Models of others' settlement on the EVM of our gas rows, each held against what its own source costs: figures.json. @module */
import { type Other, type Row, round } from '../row.ts'
import { measureEnclaveServing } from './enclaveServing.ts'
import FIGURES from './figures.json' with { type: 'json' }
import { ModelChain } from './modelChain.ts'
import { measureAttestation, measureRootRelay, measureValidation } from './records.ts'
import { measureVoucherChannels } from './voucherChannels.ts'
import { measureVoucherEscrow } from './voucherEscrow.ts'

/** How far a model may lie from its figure. */
const TOLERANCE = 0.1

export type ModelFigures = {
  /** A row for each figure that a model is held against. */
  readonly rows: readonly Row[]
  /** Gas per receipt of the workload of `gas.settle.10k`. */
  readonly perReceipt: readonly Other[]
  /** Gas of writing one statement down, where ours reads it. */
  readonly perStatement: readonly Other[]
}

export async function measureModels(): Promise<ModelFigures> {
  const chain = await ModelChain.start()
  try {
    const x402 = await measureVoucherChannels(chain)
    const serving = await measureEnclaveServing(chain)
    const relay = await measureRootRelay(chain)
    const escrow = await measureVoucherEscrow(chain)
    const attestation = await measureAttestation(chain)
    const validation = await measureValidation(chain)
    const { x402: ofX402, '0g': of0g, opengradient, graphtally, eas, erc8004 } = FIGURES.peers
    return {
      rows: [
        row(
          'x402.claim',
          'x402 batch-settlement: a channel claimed, 100 in a call',
          x402.claim,
          ofX402.units.claim,
          ofX402,
        ),
        row('x402.sweep', 'x402 batch-settlement: the sweep to one receiver', x402.sweep, ofX402.units.sweep, ofX402),
        row(
          'x402.receipt',
          'x402 batch-settlement: a receipt of the workload',
          x402.perReceipt,
          ofX402.perReceipt,
          ofX402,
        ),
        row('0g.50', '0G settleFeesWithTEE: a user, 50 in a call', serving.user50, of0g.units.user50, of0g),
        row('0g.alone', '0G settleFeesWithTEE: a user alone', serving.user1, of0g.units.user1, of0g),
        row('0g.receipt', '0G settleFeesWithTEE: a receipt of the workload', serving.perReceipt, of0g.perReceipt, of0g),
        row(
          'opengradient.20',
          'OpenGradient batchSettle: 20 receipts',
          relay,
          opengradient.units.batch20,
          opengradient,
        ),
        row('graphtally.10', 'GraphTally: a RAV, ten in a call', escrow.rav10, graphtally.units.rav10, graphtally),
        row('graphtally.alone', 'GraphTally: a RAV alone', escrow.rav1, graphtally.units.rav1, graphtally),
        row(
          'graphtally.receipt',
          'GraphTally: a receipt of the workload',
          escrow.perReceipt,
          graphtally.perReceipt,
          graphtally,
        ),
        row('eas.attest', 'EAS: an attestation of four words', attestation, eas.units.attest, eas),
        row(
          'erc8004.validation',
          'ERC-8004: a validation request and its response',
          validation,
          erc8004.units.validation,
          erc8004,
        ),
      ],
      perReceipt: [
        other('x402 model', x402.perReceipt),
        other('0G model', serving.perReceipt),
        other('OpenGradient model (event only)', relay / 20),
        other('GraphTally model', escrow.perReceipt),
      ],
      perStatement: [
        other('EAS model, to write one,', attestation),
        other('ERC-8004 model, to write one,', validation),
      ],
    }
  } finally {
    await chain.close()
  }
}

function row(id: string, name: string, gas: number, figure: number, { source }: { readonly source: string }): Row {
  return {
    id: `model.${id}`,
    name,
    value: round(gas),
    unit: 'gas',
    calibration: { figure, tolerance: TOLERANCE, source },
  }
}

function other(name: string, gas: number): Other {
  return { name, value: round(gas), unit: 'gas' }
}
