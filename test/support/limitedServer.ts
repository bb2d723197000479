/** A sealed server that tells what became of each request, to see what its limits let through. @module */
import { generateGatewayKey, KeyRing } from '#node/sealing/keyRing.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import type { SealedServerLimits } from '#node/sealing/openHttpRequest.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import type { KeyConfig } from '#protocol/sealing/keyConfig.ts'
import { KEM_X25519 } from '#protocol/sealing/suite.ts'

export type LimitedServer = {
  readonly suites: ReturnType<typeof createNodeSuites>
  readonly config: KeyConfig
  /** The status outside the seal, and what became of the request: its length where it was handled, the code where it was refused. */
  outcome(body: Uint8Array<ArrayBuffer>, contentType: string, declaredBytes?: number): Promise<(number | string)[]>
}

export async function startLimitedServer(limits: SealedServerLimits): Promise<LimitedServer> {
  const suites = createNodeSuites()
  const keys = new KeyRing()
  const key = await generateGatewayKey(suites, 1, KEM_X25519)
  keys.add(key)
  let outcomes: string[] = []
  const server = createSealedServer({
    keys,
    suites,
    replay: new ReplayMemory(Date.now),
    handle: async ({ body }) => {
      outcomes.push(`${body.length} bytes handled`)
      return { status: 200, headers: [], body: new Uint8Array() }
    },
    limits,
    onRefused: (code) => outcomes.push(code),
  })
  return {
    suites,
    config: key.config,
    async outcome(body, contentType, declaredBytes = body.length) {
      outcomes = []
      const headers = { 'content-type': contentType, 'content-length': `${declaredBytes}` }
      const { status } = await server(new Request('https://enclave/gateway', { method: 'POST', headers, body }))
      return [status, ...outcomes]
    },
  }
}
