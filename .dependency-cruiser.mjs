/** Who may import whom. Roles meet on the wire, never in code; a wrong import fails the build. */

const PROTOCOL = '^offchain/protocol/'
const NODE = '^offchain/node/'
const CHAIN = '^offchain/chain/'

/** @param {string} name @param {string} from @param {readonly string[]} allowed folders besides its own */
const folder = (name, from, allowed) => ({
  name,
  severity: 'error',
  comment: `${from} may import only itself and ${allowed.join(', ') || 'packages'}`,
  from: { path: from, pathNot: '\\.test\\.ts$' },
  to: { path: '^(gateway|offchain|scripts|test)/', pathNot: [from, ...allowed] },
})

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    folder('protocol-is-pure', PROTOCOL, []),
    folder('node-imports', NODE, [PROTOCOL]),
    folder('chain-imports', CHAIN, [PROTOCOL]),
    folder('gateway-imports', '^gateway/', [PROTOCOL, NODE]),
    folder('relay-imports', '^offchain/relay/', [PROTOCOL, NODE]),
    folder('operator-imports', '^offchain/operator/', [PROTOCOL, NODE, CHAIN]),
    folder('issuer-imports', '^offchain/issuer/', [PROTOCOL, NODE, CHAIN]),
    folder('aggregator-imports', '^offchain/aggregator/', [PROTOCOL, NODE, CHAIN]),
    folder('sdk-imports', '^offchain/sdk/', [PROTOCOL, CHAIN]),
    folder('explorer-imports', '^offchain/explorer/', ['^offchain/sdk/', CHAIN, PROTOCOL]),
    folder('cli-imports', '^offchain/cli/', [
      '^offchain/sdk/',
      CHAIN,
      PROTOCOL,
      NODE,
      // `sealpath init` writes what the roles read.
      '^(gateway|offchain/(relay|operator|aggregator|issuer))/(main|config)\\.ts$',
      '^gateway/backends/(modelServers|measuredFiles)\\.ts$',
    ]),
    {
      name: 'protocol-has-no-node-built-ins',
      severity: 'error',
      comment: 'protocol runs in browsers too: time and random bytes come as arguments',
      from: { path: PROTOCOL, pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'protocol-imports-few-packages',
      severity: 'error',
      comment: 'only cryptography, viem utilities and the schema library (docs/decisions/0002)',
      from: { path: PROTOCOL, pathNot: '\\.test\\.ts$' },
      to: {
        dependencyTypes: ['npm', 'npm-dev'],
        pathNot: 'node_modules/(@noble/|hpke/|@panva/hpke-noble/|viem/|valibot/)',
      },
    },
    {
      name: 'sdk-has-no-node-built-ins',
      severity: 'error',
      comment: 'the SDK runs in browsers',
      from: { path: '^offchain/(sdk|chain)/(?!deployment)', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: { path: '^(gateway|offchain)/' },
      to: { circular: true },
    },
  ],
  options: {
    // The TypeScript compiler's own parser is not published yet for TypeScript 7.
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'default', 'node', 'types'] },
  },
}
