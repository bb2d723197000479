/** Builds the explorer into dist/explorer: static files for any host, below any path. @module */
import { fileURLToPath } from 'node:url'
import { defineConfig, type UserConfig } from 'vite'

const config: UserConfig = defineConfig({
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  // Vite finds the names that begin with # in package.json's imports map by itself.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: fileURLToPath(new URL('../../dist/explorer', import.meta.url)),
    emptyOutDir: true,
    target: 'es2022',
    // The first that know light-dark(): it stays as it is written.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // An inlined file would be a data: URL, which the page's policy refuses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
})

export default config
