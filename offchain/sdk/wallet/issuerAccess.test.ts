/** What a wallet hears from an issuer through a relay: its answer, its refusal with the code, or nothing. @module */
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { afterEach, expect, it } from 'vitest'
import { createDevelopmentAttester } from '#node/attesters/development.ts'
import { bootEnclave } from '#node/enclave/enclave.ts'
import { createPublicApp } from '#node/enclave/publicApp.ts'
import type { InnerResponse } from '#node/sealing/innerResponse.ts'
import { createNodeSuites } from '#node/sealing/nodeSuites.ts'
import { ReplayMemory } from '#node/sealing/replayMemory.ts'
import { createSealedServer } from '#node/sealing/sealedServer.ts'
import { encodeUtf8, type Hex } from '#protocol/bytes.ts'
import { createWebSuites } from '#protocol/sealing/webSuites.ts'
import { STAGE_BINDING } from '../../../test/support/gatewayStage.ts'
import { accessIssuer, type IssuerAccess } from './issuerAccess.ts'

const KEYSET: Hex = `0x${'22'.repeat(32)}`
const suites = createNodeSuites()
const attester = createDevelopmentAttester({ pcrs: new Map([[0, new Uint8Array(48).fill(1)]]), now: Date.now })
const issuer = await bootEnclave('issuer', STAGE_BINDING, attester, suites)

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
})

/** An issuer that answers this to everything, reached at its own address. */
async function answering(status: number, body: string): Promise<IssuerAccess> {
  const response: InnerResponse = { status, headers: [], body: encodeUtf8(body) }
  const handle = async () => response
  const sealed = createSealedServer({ keys: issuer.keys, suites, replay: new ReplayMemory(Date.now), handle })
  const app = createPublicApp(issuer, sealed, () => [])
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }) as Server
  servers.push(server)
  if (!server.listening) await once(server, 'listening')
  return accessAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}/gateway`)
}

function accessAt(url: string): IssuerAccess {
  const enclave = {
    enclave: issuer.statement.enclave,
    operator: STAGE_BINDING.operator,
    measurement: KEYSET,
    isDevelopment: true,
    url: new URL(url),
    keyConfigs: issuer.keys.configs(),
  }
  const options = { chainId: STAGE_BINDING.chainId, vault: STAGE_BINDING.registry, keyset: KEYSET, timeoutMs: 30_000 }
  return accessIssuer({ ...options, suites: createWebSuites(), issuer: enclave })
}

it('an answer is what it says', async () => {
  const access = await answering(200, JSON.stringify({ keysets: [KEYSET] }))
  expect(await access.keysets()).toEqual({ keysets: [KEYSET] })
})

it('a refusal is ISSUER_REFUSED, with the issuer’s code as the reason and its sentence', async () => {
  const error = { code: 'TILE_TOO_LARGE', message: 'ask with a longer prefix' }
  const access = await answering(409, JSON.stringify({ error }))
  await expect(access.changeTile('')).rejects.toMatchObject({
    name: 'SealpathError',
    code: 'ISSUER_REFUSED',
    reason: error.code,
    message: error.message,
  })
})

it('an answer that is none is no refusal', async () => {
  await expect((await answering(500, 'oops')).spentPage(0)).rejects.toMatchObject({ code: 'BAD_JSON' })
  await expect(accessAt('http://127.0.0.1:9/').keysets()).rejects.toMatchObject({ code: 'RELAY_FAILED' })
})
