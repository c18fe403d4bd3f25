import { defineConfig } from 'vitest/config';

/** Tests without servers, but for a database. */
const OFFLINE = ['bench', 'config', 'data', 'features', 'policy', 'scoring', 'simulator', 'scripts/trainer-check'].map(
  (folder) => `test/${folder}/**/*.test.ts`,
);
/** Runs last and alone: vitest.story.config.ts. */
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
      // Of each worker one process for all of its files: what they import is loaded once.
      { test: { ...common, name: 'offline', include: OFFLINE, isolate: false } },
    ],
  },
});
