import { defineConfig } from 'vitest/config';

/** Tests without servers and clocks, but for a database; the others wait for real ones, and want the machine for themselves. */
const OFFLINE = ['bench', 'config', 'data', 'features', 'policy', 'scoring', 'simulator', 'scripts/trainer-check'].map(
  (folder) => `test/${folder}/**/*.test.ts`,
);
/** Has a configuration of its own: vitest.story.config.ts. */
const STORY = 'test/story/**';

const common = { pool: 'forks', testTimeout: 60_000, hookTimeout: 120_000 } as const;

export default defineConfig({
  test: {
    // Of both projects: what it starts, it starts once.
    globalSetup: ['test/setup/global.ts'],
    // Each file may hold a worker, a gateway and a trainer: more at once only makes them wait for each other.
    maxWorkers: 2,
    projects: [
      { test: { ...common, name: 'live', include: ['test/**/*.test.ts'], exclude: [...OFFLINE, STORY] } },
      // One process for many files: what they import is loaded once.
      { test: { ...common, name: 'offline', include: OFFLINE, isolate: false } },
    ],
  },
});
