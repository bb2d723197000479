/** A client that pays: apart from `connect`, so that who does not pay loads nothing of it. @module */
import type { Network } from '../gateway.ts'
import type { ConnectOptions } from '../options.ts'
import type { ExchangeAccess } from '../receiptCheck.ts'
import { findKeysetIssuer } from './issuerAccess.ts'
import { createPayer, type Payer } from './payer.ts'

/** Makes a client pay from its wallet, whose issuers are looked for behind the same relay. */
export function openPayer(
  { wallet, topUp }: Pick<ConnectOptions, 'topUp'> & Required<Pick<ConnectOptions, 'wallet'>>,
  network: Network,
  { suites, timeoutMs }: ExchangeAccess,
): Payer {
  const payer = createPayer({
    wallets: () => ('usableWallets' in wallet ? wallet.usableWallets : [wallet]),
    suites,
    findIssuer: ({ keyset: { chainId, vault }, keysetId }) =>
      findKeysetIssuer(network, { suites, chainId, vault, keyset: keysetId, timeoutMs }),
    ...(topUp === undefined ? {} : { topUp }),
    timeoutMs,
  })
  topUp?.check()
  payer.prepare().catch(() => {
    // What is not prepared is computed when it is needed.
  })
  return payer
}
