import { defineConfig } from 'vitest/config';

/** The demo's story: run last and alone, since it needs both cores and brings servers of its own. */
export default defineConfig({
  test: { include: ['test/story/**/*.test.ts'], pool: 'forks', testTimeout: 900_000 },
});
