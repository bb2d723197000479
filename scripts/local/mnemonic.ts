/** The words that every development node begins with. Everybody knows the keys. */
export const DEVELOPMENT_MNEMONIC = 'test test test test test test test test test test test junk'
