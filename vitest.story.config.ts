import { defineConfig } from 'vitest/config';

/** The demo's story, in a run of its own: it brings its own servers, and needs its share of both cores in time. */
export default defineConfig({
  test: { include: ['test/story/**/*.test.ts'], pool: 'forks', testTimeout: 900_000 },
});
