/** What the local network's gateway serves and charges. @module */
import type { ClaimSource } from '#protocol/receipt/receipt.ts'

/** The model that ships with the gateway. */
export const DEMO_MODEL = 'sealpath-demo-1m'

/** A price list for these models, as it stands in a configuration: 0.0001 OPG a request, 0.5 and 1.5 OPG per million tokens in and out. */
export function demoPrices(models: readonly string[], source: Exclude<ClaimSource, 'proxied'>): unknown {
  return {
    format: 'sealpath-prices/1',
    models: models.map((model) => ({
      model,
      source,
      requestUnits: '100',
      promptUnitsPerMillion: '500000',
      completionUnitsPerMillion: '1500000',
    })),
  }
}
