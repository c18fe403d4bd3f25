import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Runs last and alone: vitest.story.config.ts.
    exclude: ['test/story/**'],
    globalSetup: ['test/setup/global.ts'],
    pool: 'forks',
    // Each file may hold a worker, a gateway and a trainer: more at once only makes them wait for each other.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
