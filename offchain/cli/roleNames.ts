/** The commands that run a role. @module */

export const ROLE_NAMES = ['gateway', 'operator', 'relay', 'issuer', 'aggregator'] as const
export type RoleName = (typeof ROLE_NAMES)[number]
