/** The vault as wallets see it, on a chain: keysets from events, deposits in every way, refunds, answers, exits; what is refused, in sentences. @module */
import { Wallet as EthersWallet, JsonRpcProvider } from 'ethers'
import { createWalletClient, getAddress, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { hardhat } from 'viem/chains'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { creditVaultAbi, testOPGAbi } from '#chain/generated/abis.ts'
import { chooseKeyset, openVault, readChainTime, readKeysets, type VaultAccess } from '#chain/vault.ts'
import {
  countDeposits,
  finishRefund,
  readDeposit,
  readDepositAnswer,
  readDeposits,
  requestRefund,
} from '#chain/vaultDeposits.ts'
import {
  type ExitCredit,
  finishExits,
  hashExit,
  openExits,
  readExitAllowance,
  readExits,
  readOpenedExits,
} from '#chain/vaultExits.ts'
import { type DepositWay, makeDeposit } from '#chain/vaultPayIn.ts'
import { type ChainSigner, signerOfWallet } from '#chain/vaultSigner.ts'
import { type Hex, joinBytes, toHex } from '#protocol/bytes.ts'
import { signBlinded } from '#protocol/credits/blindSignature.ts'
import { deriveCredit } from '#protocol/credits/derivation.ts'
import { creditMessage, hashToG1 } from '#protocol/credits/message.ts'
import { encodeEip2537G1, encodeEip2537G2, encodeG1 } from '#protocol/credits/points.ts'
import {
  createPurchase,
  DEPOSIT_SIZES,
  hashIssueRequest,
  hashOutputs,
  unblindPurchase,
} from '#protocol/credits/purchase.ts'
import { ENCLAVE_ROLE } from '#protocol/evidence/statement.ts'
import { keccak256 } from '#protocol/hash.ts'
import { signDigest } from '#protocol/receipt/head.ts'
import { signerOfEthers } from '../../offchain/sdk/ethersSigner.ts'
import { deployLocal, type LocalChain, registerTestEnclave, type TestAccount } from '../support/chain.ts'
import { mined, openTestKeyset, type TestKeyset, testSeed } from '../support/credits.ts'

const [ONE_OPG = 0n, TEN_OPG = 0n] = DEPOSIT_SIZES
const UNIT_AMOUNT = 10n ** 12n
const HOUR = 3_600
const DAY = 86_400

let chain: LocalChain
let access: VaultAccess
let issuer: Hex
let keyset: TestKeyset
let payer: ChainSigner

beforeAll(async () => {
  chain = await deployLocal()
  issuer = (await registerTestEnclave(chain, testSeed(1), { role: ENCLAVE_ROLE.issuer })).enclave
  keyset = await openTestKeyset(chain, issuer)
  access = await openVault(chain.client, chain.addresses.registry)
  payer = signerOfWallet(chain.wallet('stranger'))
  await mint('stranger', 100n * ONE_OPG)
})
afterAll(() => chain.close())

async function mint(name: TestAccount, units: bigint): Promise<void> {
  const hash = await chain.wallet('deployer').writeContract({
    address: chain.addresses.token,
    abi: testOPGAbi,
    functionName: 'mint',
    args: [chain.account(name).address, units * UNIT_AMOUNT],
  })
  await mined(chain, hash)
}

function balanceOf(address: Hex): Promise<bigint> {
  return chain.client.readContract({
    address: chain.addresses.token,
    abi: testOPGAbi,
    functionName: 'balanceOf',
    args: [address],
  })
}

async function passTime(seconds: number): Promise<void> {
  await chain.control.increaseTime({ seconds })
  await chain.control.mine({ blocks: 1 })
}

const claimKeyOf = (number: number): Hex => getAddress(`0x${(0xc1a1 + number).toString(16).padStart(40, '0')}`)
const request = (number: number, units = ONE_OPG) => ({ keyset: keyset.id, units, claimKey: claimKeyOf(number) })

describe('keysets', () => {
  it('are read from events with their keys, times and writer, newest first', async () => {
    const second = await openTestKeyset(chain, issuer, 'second')
    const read = await readKeysets(access)
    expect(read.map(({ id }) => id)).toEqual([second.id, keyset.id])
    expect(read.map(({ number }) => number)).toEqual([2, 1])
    expect(read[1]?.keyset).toEqual(keyset.keyset)
    expect(read[1]?.writer).toBe(issuer)
  })

  it('are found by an endpoint that answers few blocks at once', async () => {
    const asked: bigint[] = []
    const stingy = Object.create(chain.client) as typeof chain.client
    stingy.getLogs = ((range: { fromBlock: bigint; toBlock: bigint }) => {
      asked.push(range.toBlock - range.fromBlock)
      if (range.toBlock - range.fromBlock >= 600n) throw new Error('too many blocks')
      return chain.client.getLogs(range as never)
    }) as typeof chain.client.getLogs
    await chain.control.mine({ blocks: 1_500 })
    const read = await readKeysets({ ...access, client: stingy })
    expect(read).toHaveLength(2)
    expect(asked.length).toBeGreaterThan(2)
  })

  it('whose keys were changed on the way are refused', async () => {
    const lying = Object.create(chain.client) as typeof chain.client
    lying.getLogs = (async (range: never) => {
      const logs = (await chain.client.getLogs(range)) as { args?: { keys?: Hex } }[]
      // Two of the keys trade places.
      const swap = (keys: Hex): Hex => `0x${keys.slice(514, 1026)}${keys.slice(2, 514)}${keys.slice(1026)}`
      return logs.map((log) => ({ ...log, args: { ...log.args, keys: swap(log.args?.keys ?? '0x') } }))
    }) as never
    await expect(readKeysets({ ...access, client: lying })).rejects.toMatchObject({ code: 'BAD_KEYSET' })
  })

  it('are chosen by how long they sign, and only of active issuers', async () => {
    const read = await readKeysets(access)
    const now = await readChainTime(access)
    const best = read.toSorted((a, b) => b.keyset.signUntil - a.keyset.signUntil)[0]
    expect((await chooseKeyset(access, read, now)).id).toBe(best?.id)
    const late = (best?.keyset.signUntil ?? 0) + 1
    await expect(chooseKeyset(access, read, late)).rejects.toMatchObject({ code: 'NO_KEYSET' })
    const gateway = await registerTestEnclave(chain, testSeed(2), { role: ENCLAVE_ROLE.gateway })
    const orphans = read.map((entry) => ({ ...entry, writer: gateway.enclave }))
    await expect(chooseKeyset(access, orphans, now)).rejects.toMatchObject({ code: 'NO_KEYSET' })
  })

  it('are not found at an address that is no registry', async () => {
    await expect(openVault(chain.client, chain.addresses.token)).rejects.toMatchObject({ code: 'CHAIN_FAILED' })
  })
})

describe('a deposit', () => {
  it.each([
    ['authorization', 1],
    ['permit', 2],
    ['approve', 3],
  ] as const)('goes in by %s', async (way: DepositWay, number) => {
    const before = await balanceOf(payer.address)
    expect((await makeDeposit(access, payer, request(number), way)).way).toBe(way)
    expect(before - (await balanceOf(payer.address))).toBe(ONE_OPG * UNIT_AMOUNT)
    expect(await readDeposit(access, keyset.id, claimKeyOf(number))).toMatchObject({
      state: 'open',
      units: ONE_OPG,
      payer: payer.address.toLowerCase(),
    })
  })

  it('takes one transaction by itself, and an allowance that is there already', async () => {
    expect((await makeDeposit(access, payer, request(4))).way).toBe('authorization')
    const approval = await chain.wallet('stranger').writeContract({
      address: chain.addresses.token,
      abi: testOPGAbi,
      functionName: 'approve',
      args: [chain.addresses.vault, ONE_OPG * UNIT_AMOUNT],
    })
    await mined(chain, approval)
    expect((await makeDeposit(access, payer, request(5))).way).toBe('approve')
  })

  it('is made by an ethers signer as well', async () => {
    const provider = new JsonRpcProvider(chain.rpcUrl, undefined, { staticNetwork: true, cacheTimeout: -1 })
    const ethers = await signerOfEthers(new EthersWallet(chain.keyOf('stranger'), provider))
    expect(ethers.address).toBe(payer.address)
    expect((await makeDeposit(access, ethers, request(6), 'authorization')).way).toBe('authorization')
    expect((await makeDeposit(access, ethers, request(7), 'permit')).way).toBe('permit')
    expect((await makeDeposit(access, ethers, request(8), 'approve')).way).toBe('approve')
    provider.destroy()
  })

  it('cannot be made twice for one claim key: the second moves nothing', async () => {
    const before = await balanceOf(payer.address)
    await expect(makeDeposit(access, payer, request(1))).rejects.toMatchObject({
      code: 'REFUSED',
      reason: 'VaultDepositExists',
    })
    expect(await balanceOf(payer.address)).toBe(before)
  })

  it('is refused in a sentence when the account holds too little', async () => {
    const poor = signerOfWallet(chain.wallet('settler'))
    await expect(makeDeposit(access, poor, request(9))).rejects.toThrow(
      /0x[0-9a-fA-F]{40} holds 0 OPG, and the deposit takes 1 OPG/,
    )
  })

  it('is refused while the guardian has stopped deposits, before anything is signed', async () => {
    const guardian = chain.wallet('deployer')
    const pause = { address: chain.addresses.vault, abi: creditVaultAbi } as const
    await mined(chain, await guardian.writeContract({ ...pause, functionName: 'pause' }))
    const silent: ChainSigner = { ...payer, signTypedData: () => Promise.reject(new Error('asked to sign')) }
    await expect(makeDeposit(access, silent, request(9))).rejects.toMatchObject({ reason: 'EnforcedPause' })
    await mined(chain, await guardian.writeContract({ ...pause, functionName: 'unpause' }))
  })

  it('says so when the signer does not sign', async () => {
    const silent: ChainSigner = { ...payer, signTypedData: () => Promise.reject(new Error('no')) }
    await expect(makeDeposit(access, silent, request(9))).rejects.toMatchObject({ code: 'NOT_SENT' })
  })

  it('says that nothing was sent when the account cannot pay the gas, and that nobody knows when the endpoint is silent', async () => {
    const key = toHex(testSeed(70))
    const penniless = createWalletClient({
      chain: hardhat,
      transport: http(chain.rpcUrl),
      account: privateKeyToAccount(key),
    })
    const { address } = penniless.account
    const token = { address: chain.addresses.token, abi: testOPGAbi } as const
    const args = [address, ONE_OPG * UNIT_AMOUNT] as const
    await mined(chain, await chain.wallet('deployer').writeContract({ ...token, functionName: 'mint', args }))
    const poor = signerOfWallet(penniless)
    await expect(makeDeposit(access, poor, request(9))).rejects.toMatchObject({ code: 'NOT_SENT' })
    const silent: ChainSigner = { ...payer, sendTransaction: () => Promise.reject(new Error('timeout')) }
    await expect(makeDeposit(access, silent, request(9))).rejects.toMatchObject({ code: 'UNCONFIRMED' })
    expect(await readDeposit(access, keyset.id, claimKeyOf(9))).toBeUndefined()
  })

  it('that lost a race on the way is said to be there already', async () => {
    const { claimKey } = request(11)
    const raced: ChainSigner = {
      ...payer,
      async sendTransaction(call) {
        const other = signerOfWallet(chain.wallet('operator'))
        await mint('operator', ONE_OPG)
        await makeDeposit(access, other, request(11))
        // Hardhat's node would try it out first, and say so itself.
        await chain.control.setAutomine(false)
        const hash = await chain.wallet('stranger').sendTransaction({ ...call, gas: 500_000n })
        await chain.control.mine({ blocks: 1 })
        await chain.control.setAutomine(true)
        return hash
      },
    }
    await expect(makeDeposit(access, raced, request(11), 'authorization')).rejects.toMatchObject({
      code: 'REVERTED',
      reason: 'VaultDepositExists',
    })
    expect((await readDeposit(access, keyset.id, claimKey))?.payer).not.toBe(payer.address.toLowerCase())
  })

  it('is counted among those of its size', async () => {
    await makeDeposit(access, payer, request(10, TEN_OPG))
    const deposits = await readDeposits(access, keyset.id, 0n)
    const ones = [...deposits.values()].filter((units) => units === ONE_OPG).length
    expect(await countDeposits(access, keyset.id, ONE_OPG, 0n)).toBe(ones)
    expect(await countDeposits(access, keyset.id, TEN_OPG, 0n)).toBe(1)
    expect(deposits.get(claimKeyOf(10).toLowerCase() as Hex)).toBe(TEN_OPG)
  })
})

describe('a refund', () => {
  it('is asked for after an hour and drawn after a day, and said no to before', async () => {
    const { claimKey } = request(20)
    await makeDeposit(access, payer, request(20))
    await expect(requestRefund(access, payer, keyset.id, claimKey)).rejects.toMatchObject({ reason: 'VaultTooEarly' })
    await passTime(HOUR)
    const other = signerOfWallet(chain.wallet('settler'))
    await expect(requestRefund(access, other, keyset.id, claimKey)).rejects.toMatchObject({ reason: 'VaultNotPayer' })
    await requestRefund(access, payer, keyset.id, claimKey)
    const asked = await readDeposit(access, keyset.id, claimKey)
    expect(asked?.state).toBe('refundRequested')
    await expect(finishRefund(access, payer, keyset.id, claimKey)).rejects.toThrow(/possible from \d{4}-\d{2}-\d{2}/)
    await passTime(DAY)
    expect(asked?.refundReadyAt).toBeLessThanOrEqual(await readChainTime(access))
    const before = await balanceOf(payer.address)
    await finishRefund(access, other, keyset.id, claimKey)
    expect((await balanceOf(payer.address)) - before).toBe(ONE_OPG * UNIT_AMOUNT)
    expect((await readDeposit(access, keyset.id, claimKey))?.state).toBe('refunded')
  })

  it('that the issuer answers on chain becomes credits from the event', async () => {
    const seed = testSeed(50)
    const purchase = createPurchase(seed, keyset.keyset, 0, ONE_OPG)
    const { claimKey, claimPrivateKey, outputs } = purchase
    await makeDeposit(access, payer, { keyset: keyset.id, units: ONE_OPG, claimKey })
    expect(await readDepositAnswer(access, keyset.id, claimKey, 0n)).toBeUndefined()
    const blind = outputs.map(({ exponent, blinded }) => signBlinded(blinded, keyset.secretKeys[exponent] ?? 0n))
    const digest = hashIssueRequest({ keyset: keyset.id, claimKey, outputsHash: hashOutputs(outputs) }, keyset.keyset)
    const { r, vs } = signDigest(digest, claimPrivateKey)
    const used = [...new Set(outputs.map(({ exponent }) => exponent))].flatMap((i) => keyset.keyset.keys[i] ?? [])
    const hash = await chain.wallet('settler').writeContract({
      address: chain.addresses.vault,
      abi: creditVaultAbi,
      functionName: 'answerDeposit',
      args: [
        keyset.id,
        claimKey,
        toHex(joinBytes(used.map(encodeEip2537G2))),
        toHex(Uint8Array.from(outputs, ({ exponent }) => exponent)),
        toHex(joinBytes(outputs.map(({ blinded }) => encodeEip2537G1(blinded)))),
        toHex(joinBytes(blind.map(encodeEip2537G1))),
        r,
        vs,
      ],
    })
    await mined(chain, hash)
    const signatures = await readDepositAnswer(access, keyset.id, claimKey, 0n)
    expect(signatures?.map(toHex)).toEqual(blind.map((point) => toHex(encodeG1(point))))
    const random = (length: number) => crypto.getRandomValues(new Uint8Array(length))
    expect(unblindPurchase(purchase, keyset.keyset, signatures ?? [], random)).toHaveLength(outputs.length)
    expect((await readDeposit(access, keyset.id, claimKey))?.state).toBe('answered')
  })
})

describe('an exit', () => {
  const recipient: Hex = '0x00000000000000000000000000000000cafe0002'

  function exitCredit(counter: number, exponent: number): { readonly id: Hex; readonly credit: ExitCredit } {
    const secrets = deriveCredit(testSeed(60), 'purchase', keyset.id, counter)
    const message = creditMessage({ ...keyset.keyset, keyset: keyset.id }, secrets.exitKey, secrets.secret)
    const id = toHex(message)
    const credit = {
      exponent,
      exitKey: secrets.exitKey,
      hashT: toHex(keccak256(secrets.secret)),
      signature: encodeG1(signBlinded(hashToG1(message), keyset.secretKeys[exponent] ?? 0n)),
      exit: signDigest(hashExit(keyset.keyset, id, recipient), secrets.exitPrivateKey),
    }
    return { id, credit }
  }

  it('is opened in any order of credits, read, and paid when its day is over', async () => {
    const credits = [exitCredit(0, 5), exitCredit(1, 0), exitCredit(2, 5)]
    const ids = credits.map(({ id }) => id)
    expect(await readExits(access, ids)).toMatchObject(ids.map(() => ({ state: 'none' })))
    const allowance = await readExitAllowance(access, keyset.id)
    await openExits(
      access,
      payer,
      keyset.keyset,
      recipient,
      credits.map(({ credit }) => credit),
    )
    expect(allowance - (await readExitAllowance(access, keyset.id))).toBe(65n)
    const opened = await readOpenedExits(access, keyset.id, 0n)
    const exits = await readExits(access, ids)
    for (const [i, id] of ids.entries()) {
      expect(exits[i]).toMatchObject({ state: 'open', recipient, readyAt: opened.get(id)?.readyAt })
    }
    await expect(finishExits(access, payer, ids)).rejects.toMatchObject({ reason: 'VaultExitNotReady' })
    await passTime(DAY)
    await finishExits(access, payer, ids)
    expect(await balanceOf(recipient)).toBe(65n * UNIT_AMOUNT)
    await expect(finishExits(access, payer, ids)).rejects.toThrow('the exit of a credit was paid')
  })

  it('of a credit that the keyset did not sign, or whose key did not, is refused', async () => {
    const good = exitCredit(10, 3).credit
    const other = exitCredit(11, 3).credit
    const open = (credit: ExitCredit) => openExits(access, payer, keyset.keyset, recipient, [credit])
    await expect(open({ ...good, signature: other.signature })).rejects.toMatchObject({
      reason: 'BlindSignaturesWrong',
    })
    await expect(open({ ...good, exit: other.exit })).rejects.toMatchObject({ reason: 'VaultExitNotSigned' })
  })
})
