import { Counter } from 'prom-client'
import { expect, test } from 'vitest'
import { createMetrics, serveMetrics } from './metrics.ts'

test('serves what was counted, with the process, under the role', async () => {
  const registry = createMetrics('tester')
  const counter = new Counter({ name: 'things_total', help: 'things', labelNames: ['kind'], registers: [registry] })
  counter.inc({ kind: 'good' }, 3)
  const server = await serveMetrics(registry, { host: '127.0.0.1', port: 0 })
  const response = await fetch(`${server.url}/metrics`)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain/)
  const text = await response.text()
  expect(text).toContain('things_total{kind="good",role="tester"} 3')
  expect(text).toContain('process_resident_memory_bytes{role="tester"}')
  expect((await fetch(`${server.url}/`)).status).toBe(404)
  await server.close(0)
})
