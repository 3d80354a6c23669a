import { defineConfig, type ViteUserConfig } from 'vitest/config'
import type { Kind } from './test/cluster/index.js'

/** Tests on one kind of cluster: projects of different kinds can run side by side. */
function onClusters(name: Kind, include: readonly string[]) {
  return {
    test: {
      name,
      include: include.map((path) => `test/integration/${path}`),
      globalSetup: ['test/cluster/global-setup.ts'],
      fileParallelism: false,
      testTimeout: 120_000,
      hookTimeout: 120_000,
    },
  }
}

const config: ViteUserConfig = defineConfig({
  test: {
    coverage: { provider: 'v8', include: ['src/**/*.ts'], reporter: ['text-summary', 'html'] },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts', 'test/property/**/*.test.ts', 'test/fault/**/*.test.ts'],
          testTimeout: 30_000,
        },
      },
      onClusters('galera', ['mysql/**/*.test.ts', 'orm/**/*.test.ts', 'cluster/galera.test.ts']),
      onClusters('rabbit', ['amqp/**/*.test.ts', 'oslo/**/*.test.ts', 'cluster/rabbit.test.ts']),
      onClusters('memcached', ['memcached/**/*.test.ts', 'cluster/memcached.test.ts', 'cluster/cli.test.ts']),
    ],
  },
})

export default config
