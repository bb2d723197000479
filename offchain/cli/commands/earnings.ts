/** `sealpath earnings`: what an operator's enclaves have earned, and bringing it home. @module */
import { encodeFunctionData, getAddress } from 'viem'
import { type OperatorEarnings, readEarnings } from '#chain/earnings.ts'
import { enclaveRegistryAbi } from '#chain/generated/abis.ts'
import { type PayoutDone, payOut } from '#chain/payouts.ts'
import { formatTime } from '#chain/vaultErrors.ts'
import { sendCall } from '#chain/vaultSigner.ts'
import { formatOpg, parseOpg } from '#protocol/credits/amounts.ts'
import { toJson } from '#protocol/wire/json.ts'
import { addressOf, type Command, readArguments, say, UsageError } from '../command.ts'
import {
  OPERATOR_OPTIONS,
  OPERATOR_USAGE,
  type OperatorAccess,
  openOperator,
  requireSender,
} from '../operatorOptions.ts'

export const earnings: Command = {
  name: 'earnings',
  summary: "Show what an operator's enclaves earned, and draw it",
  usage: `usage: sealpath earnings show [options]
       sealpath earnings withdraw --key-file FILE [--minimum AMOUNT] [options]
       sealpath earnings retire ENCLAVE --key-file FILE [options]

  show       every enclave of the operator: standing, earned, cleared, drawn; bonds; fees for settling; asks the chain only
  withdraw   draws what has thawed, starts the thaw of the rest (a day on public chains), releases bonds that are free;
             what it draws goes to the operator, whoever sends it
  retire     ends an enclave's registration now: what it earned still settles for three days, its bond is free after fourteen

${OPERATOR_USAGE}
  --minimum AMOUNT     leaves alone what is less than so much OPG
  --json               show as JSON, amounts in units of a millionth OPG`,
  async run([name, ...args]) {
    if (name === 'show') return show(args)
    if (name === 'withdraw') return withdraw(args)
    if (name === 'retire') return retire(args)
    throw new UsageError('say what to do: show, withdraw, retire')
  },
}

async function show(args: string[]): Promise<number> {
  const { values } = readArguments({
    args,
    options: { ...OPERATOR_OPTIONS, json: { type: 'boolean', default: false } },
  })
  const read = await readOf(await openOperator(values))
  process.stdout.write(values.json ? `${toJson(read, 2)}\n` : report(read))
  return 0
}

async function withdraw(args: string[]): Promise<number> {
  const { values } = readArguments({ args, options: { ...OPERATOR_OPTIONS, minimum: { type: 'string' } } })
  const unitsMin = minimumOf(values.minimum)
  const access = await openOperator(values)
  const signer = requireSender(access)
  const { client, deployment, operator } = access
  for await (const done of payOut({ client, ...deployment }, { operator, signer, unitsMin })) {
    say(`${describe(done)}, transaction ${done.transaction}`)
  }
  const left = await readOf(access)
  const isSettler = signer.address.toLowerCase() === operator.toLowerCase()
  const thaws = [...left.enclaves.map(({ payout }) => payout), ...(isSettler ? [left.settler.payout] : [])].filter(
    ({ thawing }) => thawing > 0n,
  )
  for (const { thawing, readyAt } of thaws) say(`${formatOpg(thawing)} can be drawn from ${formatTime(readyAt)} on`)
  return 0
}

async function retire(args: string[]): Promise<number> {
  const { values, positionals } = readArguments({ args, allowPositionals: true, options: OPERATOR_OPTIONS })
  const [given, ...others] = positionals
  if (given === undefined || others.length > 0) throw new UsageError('give the address of one enclave')
  const enclave = getAddress(addressOf(given, 'ENCLAVE'))
  const access = await openOperator(values)
  const data = encodeFunctionData({ abi: enclaveRegistryAbi, functionName: 'retire', args: [enclave] })
  const transaction = await sendCall(access.client, requireSender(access), { to: access.deployment.registry, data })
  say(`${enclave} is retired, transaction ${transaction}`)
  return 0
}

function readOf({ client, deployment, operator }: OperatorAccess): Promise<OperatorEarnings> {
  return readEarnings({ client, ...deployment }, operator)
}

function minimumOf(text: string | undefined): bigint {
  if (text === undefined) return 1n
  const units = parseOpg(text)
  if (units === undefined) throw new UsageError('--minimum is an amount like 10 or 2.5 OPG, with at most six decimals')
  return units
}

function describe({ kind, enclave, units }: PayoutDone): string {
  switch (kind) {
    case 'thaw':
      return `thawing ${formatOpg(units)} that ${enclave} earned`
    case 'withdraw':
      return `drawn: ${formatOpg(units)} that ${enclave} earned`
    case 'release-bond':
      return `released: the bond of ${formatOpg(units)} of ${enclave}`
    case 'thaw-settler':
      return `thawing ${formatOpg(units)} of fees for settling`
    case 'withdraw-settler':
      return `drawn: ${formatOpg(units)} of fees for settling`
  }
}

function report({ operator, bond, bondNeeded, enclaves, settler, now }: OperatorEarnings): string {
  const lines = [
    `operator ${operator}`,
    `bond     ${formatOpg(bond.deposited)}, of it locked ${formatOpg(bond.locked)}; an enclave locks ${formatOpg(bondNeeded.gateway)} (gateway) or ${formatOpg(bondNeeded.issuer)} (issuer)`,
  ]
  if (settler.earned > 0n) {
    lines.push(`settling earned ${formatOpg(settler.earned)}, drawn ${formatOpg(settler.payout.drawn)}`)
  }
  if (enclaves.length === 0) lines.push('no enclave was ever registered for this operator')
  for (const { enclave, role, state, endsAt, earned, cleared, payout, idle } of enclaves) {
    const ends = endsAt > now ? `until ${formatTime(endsAt)}` : `ended ${formatTime(endsAt)}`
    lines.push('', `${enclave}  ${role}, ${state}, ${ends}`)
    if (role === 'issuer') continue
    lines.push(`  earned ${formatOpg(earned)}, cleared by issuers ${formatOpg(cleared)}`)
    const thaws =
      payout.thawing > 0n ? `, thawing ${formatOpg(payout.thawing)} until ${formatTime(payout.readyAt)}` : ''
    lines.push(`  drawn ${formatOpg(payout.drawn)}${thaws}, waiting to be drawn ${formatOpg(idle)}`)
  }
  return `${lines.join('\n')}\n`
}
