/** The explorer's page: reads where to read from, follows the fragment, shows what it names. @module */
import { type JSX, render } from 'preact'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { WireError } from '#protocol/wire/json.ts'
import { type ExplorerConfig, parseConfig, replacedBy } from './config.ts'
import { createReader } from './reader.ts'
import { linkTo, type Place, parsePlace } from './route.ts'
import { BatchPage } from './views/BatchPage.tsx'
import { EnclavePage } from './views/EnclavePage.tsx'
import { NetworkPage } from './views/NetworkPage.tsx'
import { Complaint, Linking, type Sources, useLoaded } from './views/parts.tsx'
import { ReceiptPage } from './views/ReceiptPage.tsx'
import { SourcesPage } from './views/SourcesPage.tsx'

const mount = document.getElementById('explorer')
if (mount !== null) void start(mount)

async function start(element: HTMLElement): Promise<void> {
  render(<App file={await fetchConfig()} />, element)
}

/** explorer.json beside the page: undefined where there is none. */
async function fetchConfig(): Promise<string | undefined> {
  try {
    const response = await fetch('./explorer.json', { cache: 'no-cache' })
    return response.ok ? await response.text() : undefined
  } catch {
    // A folder opened without a server has none that could be fetched: the person says where to read from.
    return undefined
  }
}

const PAGES = [
  { path: '/', page: 'network', name: 'Network' },
  { path: '/chat', page: 'chat', name: 'Ask' },
  { path: '/receipt', page: 'receipt', name: 'Check a receipt' },
  { path: '/sources', page: 'sources', name: 'Sources' },
] as const

function App({ file }: { readonly file: string | undefined }): JSX.Element {
  const { route, overrides } = usePlace()
  const query = overrides.toString()
  const { config, complaint } = useMemo(() => configFrom(file, new URLSearchParams(query)), [file, query])
  const sources = useMemo(() => config && { config, reader: createReader(config.rpcUrl) }, [config])
  const replaced = replacedBy(overrides)
  const isFirst = useRef(true)
  useEffect(() => {
    document.title = titleOf(route)
    // Who follows a link by the keyboard goes on where the new page begins.
    if (!isFirst.current) document.getElementById('main')?.focus({ preventScroll: true })
    isFirst.current = false
    window.scrollTo(0, 0)
  }, [route])
  return (
    <Linking.Provider value={(path) => linkTo(path, overrides)}>
      <button type="button" class="skip" onClick={skipToMain}>
        Skip to the content
      </button>
      <header>
        <p class="brand">Sealpath explorer</p>
        <nav aria-label="Pages">
          {PAGES.map(({ path, page, name }) => (
            <a key={page} href={linkTo(path, overrides)} aria-current={route.page === page ? 'page' : undefined}>
              {name}
            </a>
          ))}
        </nav>
      </header>
      {replaced.length > 0 && (
        <p class="warning" role="note">
          This link names sources of its own ({replaced.join(', ')}): what you see is as true as they are.{' '}
          <a href="#/">Use this site’s</a>
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {sources === undefined || route.page === 'sources' ? (
          <SourcesPage key={query} config={config} complaint={complaint} overrides={overrides} />
        ) : (
          <Page route={route} sources={sources} />
        )}
      </main>
      {config !== undefined && <Footer config={config} />}
    </Linking.Provider>
  )
}

function Page({ route, sources }: { readonly route: Place['route']; readonly sources: Sources }): JSX.Element {
  switch (route.page) {
    case 'chat':
      return <LoadedChatPage sources={sources} />
    case 'receipt':
      return <ReceiptPage sources={sources} />
    case 'enclave':
      return <EnclavePage key={route.enclave} sources={sources} enclave={route.enclave} />
    case 'batch':
      return <BatchPage key={String(route.batch)} sources={sources} batch={route.batch} />
    case 'network':
      return <NetworkPage sources={sources} />
    default:
      return <h1>There is no such page</h1>
  }
}

/** What seals and opens is as large as all else together: it comes when somebody asks. */
const loadChatPage = () => import('./views/ChatPage.tsx')

function LoadedChatPage({ sources }: { readonly sources: Sources }): JSX.Element {
  const loaded = useLoaded(loadChatPage)
  if (loaded === 'failed') return <Complaint>This part of the page could not be loaded: reload it.</Complaint>
  return loaded === undefined ? <p class="quiet">Loading</p> : <loaded.ChatPage sources={sources} />
}

function Footer({ config }: { readonly config: ExplorerConfig }): JSX.Element {
  const { rpcUrl, aggregatorUrl, relayUrl, deployment } = config
  const hosts = [rpcUrl, aggregatorUrl, ...(relayUrl === undefined ? [] : [relayUrl])].map((url) => new URL(url).host)
  return (
    <footer>
      Chain {deployment.chainId}. Your browser asks {hosts.join(', ')} and nobody else, and checks what they say.
    </footer>
  )
}

function titleOf(route: Place['route']): string {
  const own = {
    network: 'Network',
    chat: 'Ask',
    receipt: 'Check a receipt',
    sources: 'Sources',
    unknown: 'No such page',
    enclave: 'Enclave',
    batch: 'Batch',
  }[route.page]
  return `${own} · Sealpath explorer`
}

function configFrom(
  file: string | undefined,
  overrides: URLSearchParams,
): { config: ExplorerConfig | undefined; complaint: string | undefined } {
  try {
    return { config: parseConfig(file, overrides), complaint: undefined }
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    return { config: undefined, complaint: error.message }
  }
}

function usePlace(): Place {
  const [place, setPlace] = useState(() => parsePlace(location.hash))
  useEffect(() => {
    const onChange = (): void => setPlace(parsePlace(location.hash))
    addEventListener('hashchange', onChange)
    return () => removeEventListener('hashchange', onChange)
  }, [])
  return place
}

/** A button and no link: the fragment is the page's address, so it cannot name a place on the page too. */
function skipToMain(): void {
  document.getElementById('main')?.focus()
}
