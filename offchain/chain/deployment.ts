/** Where the protocol stands on one chain: the file that `sealpath deploy` writes and every role reads. @module */
import { readFileSync } from 'node:fs'
import * as v from 'valibot'
import type { Hex } from '#protocol/bytes.ts'
import { address, parseJson, type Schema, uintOf } from '#protocol/wire/json.ts'

export type Deployment = {
  readonly chainId: number
  readonly registry: Hex
  readonly settlement: Hex
  readonly vault: Hex
  readonly token: Hex
  /** InferenceVerifier: answers by `eth_call` whether a receipt settled. */
  readonly inference: Hex
  /** FixedPromptBounty: the example consumer. */
  readonly bounty: Hex
  /** TimelockController: owns the registry. */
  readonly timelock: Hex
  /** NitroVerifier: what verifies evidence for the registry. */
  readonly verifier: Hex
  /** Block to read events from. */
  readonly fromBlock: bigint
}

export const DeploymentSchema: Schema<Deployment> = v.object({
  chainId: v.pipe(v.number(), v.integer(), v.minValue(1)),
  registry: address,
  settlement: address,
  vault: address,
  token: address,
  inference: address,
  bounty: address,
  timelock: address,
  verifier: address,
  fromBlock: uintOf(64),
})

/** Reads a deployment file. Throws `WireError` on a malformed one, and what the file system throws. */
export function readDeployment(path: string): Deployment {
  return parseJson(DeploymentSchema, readFileSync(path, 'utf8'), `deployment ${path}`)
}
