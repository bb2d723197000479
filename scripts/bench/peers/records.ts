/** Designs that record rather than pay, as models: OpenGradient's root in an event, and what one statement costs under EAS and ERC-8004. @module */
import { encodeAbiParameters } from 'viem'
import { type Hex, toHex } from '#protocol/bytes.ts'
import type { ModelChain } from './modelChain.ts'
import { addressOf, keyOf } from './workload.ts'

/** Gas of `batchSettle` with any number of receipts; the blob's identifier as 32 bytes, the shortest that it can be. */
export async function measureRootRelay(chain: ModelChain): Promise<number> {
  const relay = await chain.deploy('RootRelay')
  const settle = (round: number) =>
    chain.send(relay, 'batchSettle', [hashOf('root', round), 20n, hashOf('blob', round)])
  await settle(1)
  return await settle(2)
}

/** Gas of one attestation of four words about somebody. */
export async function measureAttestation(chain: ModelChain): Promise<number> {
  const schemas = await chain.deploy('Schemas')
  const attestations = await chain.deploy('Attestations', [schemas.address])
  const text = 'bytes32 model,bytes32 request,bytes32 output,bytes32 measurement'
  const schema = await chain.read(schemas, 'register', [text])
  await chain.send(schemas, 'register', [text])
  const attest = (round: number) => {
    const words = ['model', 'request', 'output', 'measurement'].map((label) => hashOf(label, round))
    const types = words.map(() => ({ type: 'bytes32' }))
    const data = {
      recipient: addressOf('payer', round),
      expirationTime: 0n,
      revocable: true,
      refUID: `0x${'00'.repeat(32)}`,
      data: encodeAbiParameters(types, words),
      value: 0n,
    }
    return chain.send(attestations, 'attest', [{ schema, data }])
  }
  await attest(1)
  return await attest(2)
}

/** Gas of a validation request and its response, both behind proxies. */
export async function measureValidation(chain: ModelChain): Promise<number> {
  const behindProxy = async (name: string) => {
    const { address } = await chain.deploy(name)
    return chain.at(name, (await chain.deploy('ForwardingProxy', [address])).address)
  }
  const agents = await behindProxy('Agents')
  const validations = await behindProxy('Validations')
  await chain.send(validations, 'initialize', [agents.address])
  await chain.send(agents, 'register', [1n])
  const validator = chain.account(1)
  const validate = async (round: number) => {
    const hash = hashOf('request', round)
    const uri = `ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi/${round}`
    const request = await chain.send(validations, 'validationRequest', [validator, 1n, uri, hash])
    const args = [hash, 100, uri, hashOf('response', round), 'inference']
    return request + (await chain.send(validations, 'validationResponse', args, { from: validator }))
  }
  await validate(1)
  return await validate(2)
}

function hashOf(label: string, number: number): Hex {
  return toHex(keyOf(label, number).privateKey)
}
