/**
 * What a role counts, for Prometheus, on an address of its own: `"metrics": { "host", "port" }` in any role's configuration. Counts, sizes and
 * durations only, never a label made of what somebody sent.
 * @module
 */
import { Hono } from 'hono'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import * as v from 'valibot'
import type { Schema } from '#protocol/wire/json.ts'
import { type Listen, ListenSchema } from './config/listen.ts'
import { type RunningServer, startServer } from './server.ts'

/** Where metrics are served, of any role's configuration; nowhere without it. */
export type MetricsConfig = { readonly metrics?: Listen }

export const MetricsConfigSchema: Schema<MetricsConfig> = v.object({
  metrics: v.exactOptional(ListenSchema),
})

/** A registry whose every metric carries the role's name, with those of the process: memory, CPU, event loop, garbage. */
export function createMetrics(role: string): Registry {
  const registry = new Registry()
  registry.setDefaultLabels({ role })
  collectDefaultMetrics({ register: registry })
  return registry
}

/** A number that is read when somebody asks for metrics. */
export function addGauge(registry: Registry, name: string, help: string, read: () => number | Promise<number>): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    async collect() {
      this.set(await read())
    },
  })
}

/** Numbers that are read together, each by its value of one label. */
export function addGauges(
  registry: Registry,
  name: string,
  help: string,
  label: string,
  read: () => Promise<Readonly<Record<string, number>>>,
): void {
  new Gauge({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    async collect() {
      for (const [value, number] of Object.entries(await read())) this.set({ [label]: value }, number)
    },
  })
}

/** Counts by one label, whose values are ours and few. */
export function addCounter(registry: Registry, name: string, help: string, label: string): (value: string) => void {
  const counter = new Counter({ name, help, labelNames: [label], registers: [registry] })
  return (value) => counter.inc({ [label]: value })
}

/** Serves `GET /metrics`. Throws `AppError` (`PORT_TAKEN`, `LISTEN_FAILED`). */
export function serveMetrics(registry: Registry, address: Listen): Promise<RunningServer> {
  const app = new Hono()
  app.get('/metrics', async (c) => c.body(await registry.metrics(), 200, { 'content-type': registry.contentType }))
  return startServer(app, address)
}
