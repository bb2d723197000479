/** `sealpath bond`: the OPG that stands behind an operator's enclaves. @module */
import { encodeFunctionData, erc20Abi, getAddress } from 'viem'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { fromChain } from '#chain/vaultErrors.ts'
import { sendCall } from '#chain/vaultSigner.ts'
import { formatOpg } from '#protocol/credits/amounts.ts'
import { BASE_UNITS_PER_UNIT } from '#protocol/prices.ts'
import { type Command, readArguments, say, UsageError } from '../command.ts'
import {
  OPERATOR_OPTIONS,
  OPERATOR_USAGE,
  type OperatorAccess,
  openOperator,
  requireSender,
} from '../operatorOptions.ts'
import { amountOf } from '../walletOptions.ts'

export const bond: Command = {
  name: 'bond',
  summary: "Show, deposit and withdraw the OPG behind an operator's enclaves",
  usage: `usage: sealpath bond show [options]
       sealpath bond deposit AMOUNT --key-file FILE [options]
       sealpath bond withdraw [AMOUNT] --key-file FILE [options]

  show       what is deposited, what enclaves lock of it, and how much each enclave needs
  deposit    lays OPG of the sending account behind the operator
  withdraw   takes back what no enclave locks, all of it without an amount; sealpath earnings withdraw unlocks what is free

${OPERATOR_USAGE}`,
  async run([name, ...args]) {
    const { values, positionals } = readArguments({ args, allowPositionals: true, options: OPERATOR_OPTIONS })
    const [amount, ...others] = positionals
    if (others.length > 0) throw new UsageError('give one amount')
    switch (name) {
      case 'show':
        return show(await openOperator(values))
      case 'deposit':
        if (amount === undefined) throw new UsageError('give an amount of OPG')
        return deposit(await openOperator(values), amountOf(amount, 'the bond'))
      case 'withdraw':
        return withdraw(await openOperator(values), amount === undefined ? undefined : amountOf(amount, 'what to take'))
      default:
        throw new UsageError('say what to do: show, deposit, withdraw')
    }
  },
}

async function show(access: OperatorAccess): Promise<number> {
  const { deposited, locked } = await readBond(access)
  const needed = (functionName: 'GATEWAY_BOND' | 'ISSUER_BOND') => readNeeded(access, functionName)
  const [gateway, issuer] = await Promise.all([needed('GATEWAY_BOND'), needed('ISSUER_BOND')])
  say(`deposited ${formatOpg(deposited)}, locked ${formatOpg(locked)}, free ${formatOpg(deposited - locked)}`)
  say(`an enclave locks ${formatOpg(gateway)} (gateway) or ${formatOpg(issuer)} (issuer)`)
  return 0
}

async function deposit(access: OperatorAccess, units: bigint): Promise<number> {
  const { client, deployment, operator } = access
  const signer = requireSender(access)
  const amount = units * BASE_UNITS_PER_UNIT
  const token = { address: deployment.token, abi: erc20Abi } as const
  const owner = getAddress(signer.address)
  const held = await fromChain(client.readContract({ ...token, functionName: 'balanceOf', args: [owner] }))
  if (held < amount)
    throw new Error(
      `${signer.address} holds ${formatOpg(held / BASE_UNITS_PER_UNIT)}, and this takes ${formatOpg(units)}`,
    )
  const allowance = () =>
    fromChain(
      client.readContract({ ...token, functionName: 'allowance', args: [owner, getAddress(deployment.registry)] }),
    )
  if ((await allowance()) < amount) {
    const args = [getAddress(deployment.registry), amount] as const
    await sendCall(client, signer, {
      to: deployment.token,
      data: encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args }),
    })
  }
  const args = [getAddress(operator), units] as const
  const data = encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'depositBond', args })
  const transaction = await sendCall(client, signer, { to: deployment.registry, data })
  say(`deposited ${formatOpg(units)} behind ${operator}, transaction ${transaction}`)
  return 0
}

async function withdraw(access: OperatorAccess, units: bigint | undefined): Promise<number> {
  const signer = requireSender(access)
  if (signer.address.toLowerCase() !== access.operator.toLowerCase()) {
    throw new UsageError('only the operator itself takes its bond back: leave --operator out')
  }
  const { deposited, locked } = await readBond(access)
  const taken = units ?? deposited - locked
  if (taken === 0n) throw new Error(`nothing of the bond of ${formatOpg(deposited)} is free`)
  const data = encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'withdrawBond', args: [taken] })
  const transaction = await sendCall(access.client, signer, { to: access.deployment.registry, data })
  say(`took back ${formatOpg(taken)}, transaction ${transaction}`)
  return 0
}

function readBond({ client, deployment, operator }: OperatorAccess): Promise<{ deposited: bigint; locked: bigint }> {
  const registry = { address: deployment.registry, abi: enclaveRegistryAbi } as const
  return fromChain(client.readContract({ ...registry, functionName: 'bondOf', args: [getAddress(operator)] }))
}

function readNeeded(
  { client, deployment }: OperatorAccess,
  functionName: 'GATEWAY_BOND' | 'ISSUER_BOND',
): Promise<bigint> {
  return fromChain(client.readContract({ address: deployment.registry, abi: enclaveRegistryAbi, functionName }))
}
