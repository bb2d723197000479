// The operator's page: asks the agent every few seconds and shows what it says. Amounts arrive as decimal strings of units, a millionth OPG each.

const UNITS_PER_OPG = 1_000_000n
const POLL_MS = 5_000

const element = (id) => document.getElementById(id)
const notice = element('notice')
const button = element('withdraw')

function opg(units) {
  const whole = BigInt(units) / UNITS_PER_OPG
  const fraction = (BigInt(units) % UNITS_PER_OPG).toString().padStart(6, '0').replace(/0+$/, '')
  return `${whole.toLocaleString('en-US')}${fraction === '' ? '' : `.${fraction}`} OPG`
}

const time = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')} UTC`

/** An element with text, so that nothing that anybody says is ever markup. */
function make(tag, text, className) {
  const made = document.createElement(tag)
  if (text !== undefined) made.textContent = text
  if (className !== undefined) made.className = className
  return made
}

function fact(list, name, value, hint) {
  const entry = make('div')
  entry.append(make('dt', name), make('dd', value))
  if (hint !== undefined) entry.append(make('p', hint, 'hint'))
  list.append(entry)
}

function total(amounts) {
  return amounts.reduce((sum, amount) => sum + BigInt(amount), 0n)
}

function showNow({ enclave, isEnclaveReachable, isRegistered, log }) {
  const now = element('now')
  const standing = !isEnclaveReachable ? 'does not answer' : isRegistered ? 'registered' : 'not registered yet'
  const list = make('dl')
  fact(list, 'Enclave', standing, enclave)
  fact(list, 'Receipts logged', log.leaves.toLocaleString('en-US'))
  for (const [host, size] of Object.entries(log.delivered)) {
    fact(list, `Delivered to ${host}`, size.toLocaleString('en-US'))
  }
  now.replaceChildren(list)
}

function showEarnings({ operator, bond, enclaves, settler, now }) {
  element('address').textContent = operator
  const money = [...enclaves.map(({ payout }) => payout), settler.payout]
  const waiting = total([...enclaves, settler].map(({ idle }) => idle))
  const thawing = total(money.map((payout) => payout.thawing))
  const next = Math.min(...money.filter((payout) => BigInt(payout.thawing) > 0n).map((payout) => payout.readyAt))
  const totals = element('totals')
  totals.replaceChildren()
  fact(totals, 'Earned', opg(total(enclaves.map(({ earned }) => earned))), 'signed by the gateway')
  fact(totals, 'Cleared', opg(total(enclaves.map(({ cleared }) => cleared))), 'signed by the issuer too')
  fact(totals, 'Drawn', opg(total(money.map((payout) => payout.drawn))))
  fact(totals, 'Thawing', opg(thawing), thawing === 0n ? undefined : next <= now ? 'ready' : `ready ${time(next)}`)
  fact(totals, 'To be drawn', opg(waiting))
  fact(totals, 'Bond', opg(bond.deposited), `${opg(bond.locked)} locked`)
  button.disabled = !(waiting > 0n || (thawing > 0n && next <= now))
  const rows = [...enclaves].reverse().map((entry) => {
    const row = make('article')
    row.append(make('h3', entry.enclave, 'mono'))
    const ends = entry.endsAt > now ? `until ${time(entry.endsAt)}` : `ended ${time(entry.endsAt)}`
    row.append(make('p', `${entry.role}, ${entry.state}, ${ends}`))
    if (entry.role === 'gateway') row.append(make('p', `earned ${opg(entry.earned)}, drawn ${opg(entry.payout.drawn)}`))
    return row
  })
  element('enclaves').replaceChildren(...(rows.length === 0 ? [make('p', 'No enclave was registered yet.')] : rows))
}

/** What a cell says of itself where the table's head has no room. */
const COLUMNS = ['Claim', 'Prompt, a million tokens', 'Answer, a million tokens', 'Each request']

function showPrices(prices) {
  element('prices-section').hidden = prices === undefined
  const rows = (prices?.models ?? []).map((entry) => {
    const row = make('tr')
    const claim = entry.origin === undefined ? entry.source : `${entry.source}: ${entry.origin}`
    const amounts = [entry.promptUnitsPerMillion, entry.completionUnitsPerMillion, entry.requestUnits]
    const cells = [make('td', claim), ...amounts.map((units) => make('td', opg(units), 'amount'))]
    for (const [i, cell] of cells.entries()) cell.dataset.label = COLUMNS[i]
    const name = make('th', entry.model)
    name.scope = 'row'
    row.append(name, ...cells)
    return row
  })
  element('prices').replaceChildren(...rows)
}

async function ask(path, options) {
  const response = await fetch(path, options)
  const body = await response.json()
  if (!response.ok) throw new Error(body.error?.message ?? `the agent answers ${response.status}`)
  return body
}

async function refresh() {
  const view = await ask('/v1/operator')
  showNow(view)
  showEarnings(view.earnings)
  showPrices(view.prices)
}

let isBusy = false
async function round(work) {
  if (isBusy) return
  isBusy = true
  try {
    notice.textContent = (await work()) ?? ''
    notice.className = ''
  } catch (error) {
    notice.textContent = error instanceof TypeError ? 'The agent does not answer.' : error.message
    notice.className = 'failed'
  } finally {
    isBusy = false
  }
}

button.addEventListener('click', () => {
  button.disabled = true
  notice.textContent = 'Sending'
  void round(async () => {
    const { payouts } = await ask('/v1/withdraw', { method: 'POST' })
    await refresh()
    const words = { thaw: 'thawing', withdraw: 'drawn', 'release-bond': 'bond released', 'thaw-settler': 'thawing', 'withdraw-settler': 'drawn' }
    return payouts.map(({ kind, units }) => `${words[kind]}: ${opg(units)}`).join(', ') || 'There is nothing to be drawn now.'
  })
})

await round(refresh)
setInterval(() => {
  if (!document.hidden && !button.matches(':active')) void refresh().catch((error) => {
    notice.textContent = error instanceof TypeError ? 'The agent does not answer.' : error.message
    notice.className = 'failed'
  })
}, POLL_MS)
