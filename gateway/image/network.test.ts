import { describe, expect, it } from 'vitest'
import { planDoors, writeDoors, writeHosts } from './network.ts'

const LISTENS = { listen: { host: '127.0.0.1', port: 8080 }, agentListen: { host: '127.0.0.1', port: 8081 } }
const doorsOf = (config: object) => writeDoors(planDoors({ ...LISTENS, ...config }))

describe("an image's doors", () => {
  it('are its two ports when it asks nobody', () => {
    expect(doorsOf({})).toBe('in 8080 public\nin 8081 agent\n')
    expect(writeHosts(planDoors(LISTENS))).toBe('127.0.0.1 localhost\n')
  })

  it('lead to every server that any URL in the configuration names, each once', () => {
    const config = {
      issuer: { urls: ['https://issuer.example', 'http://issuer.example:8080/path'] },
      rpcUrls: ['https://rpc.example/key', 'https://192.0.2.7'],
      backends: [
        { url: 'https://issuer.example/v1' },
        { url: 'http://127.0.0.1:11434/v1' },
        { url: 'http://localhost:1' },
      ],
      database: { url: 'postgres://sealpath@db.example/ledger' },
      prices: { models: [{ model: 'https-like name', origin: 'issuer.example' }] },
    }
    expect(doorsOf(config)).toBe(
      [
        'in 8080 public',
        'in 8081 agent',
        'out 9100 192.0.2.7 192.0.2.7 443',
        'out 9101 127.0.1.2 db.example 5432',
        'out 9102 127.0.1.3 issuer.example 443',
        'out 9103 127.0.1.3 issuer.example 8080',
        'out 9104 127.0.1.4 rpc.example 443',
        '',
      ].join('\n'),
    )
    expect(writeHosts(planDoors({ ...LISTENS, ...config }))).toBe(
      ['127.0.0.1 localhost', '127.0.1.2 db.example', '127.0.1.3 issuer.example', '127.0.1.4 rpc.example', ''].join(
        '\n',
      ),
    )
  })

  it('do not depend on the order of the configuration', () => {
    const urls = ['https://a.example', 'https://b.example:1', 'https://b.example', 'https://c.example']
    expect(doorsOf({ urls })).toBe(doorsOf({ later: { urls: urls.toReversed() } }))
  })

  it('lead to as many as 250 servers', () => {
    expect(doorsOf({ urls: Array.from({ length: 250 }, (_, i) => `https://s${i}.example`) })).toContain('s249.example')
  })

  it.each([
    ['no ports', { listen: undefined }, 'listen'],
    ['a port chosen by the system', { listen: { host: '127.0.0.1', port: 0 } }, 'listen.port'],
    ['a port of root', { listen: { host: '127.0.0.1', port: 443 } }, 'listen.port: expected at least 1024'],
    ["the bridges' ports", { agentListen: { host: '127.0.0.1', port: 9001 } }, 'expected a port outside 9000 to 9349'],
    ['one port for both', { agentListen: LISTENS.listen }, 'expected two ports'],
    ['an address that the bridge does not reach', { listen: { host: '10.0.0.1', port: 80 } }, 'listen.host'],
    ['an IPv6 address', { url: 'https://[2001:db8::1]/' }, 'IPv6 addresses are not bridged'],
    ['a password', { url: 'postgres://u:secret@db.example/x' }, 'the URL of db.example has a password in it'],
    ['too many servers', { urls: Array.from({ length: 251 }, (_, i) => `https://s${i}.example`) }, 'at most 250'],
  ])('are refused with a sentence for %s', (_, config, sentence) => {
    expect(() => doorsOf(config)).toThrow(sentence)
  })

  it('say nothing of a password that they refuse', () => {
    expect(() => doorsOf({ url: 'postgres://u:secret@db.example/x' })).toThrow(/^(?!.*secret@)/)
  })
})
