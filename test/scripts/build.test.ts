import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';

// Inside the project, so that it finds the packages.
const out = join(projectRoot(), '.freshet', `build-${process.pid}`);
afterAll(() => {
  rmSync(out, { recursive: true, force: true });
});

test('the production build runs without TypeScript and has the workflow code bundled', { timeout: 240_000 }, () => {
  const built = spawnSync(process.execPath, [...entryPoint('scripts/build.ts'), out], { encoding: 'utf8' });
  expect(built.status, built.stdout + built.stderr).toBe(0);
  expect(readFileSync(join(out, 'workflow-bundle.js'), 'utf8')).toContain('trainingCycle');

  const env = { ...process.env, DATABASE_URL: 'postgres://127.0.0.1:9/freshet' };
  const command = spawnSync(process.execPath, [join(out, 'scripts', 'freshet.js'), 'versions', 'a'], {
    encoding: 'utf8',
    env,
  });
  expect(command).toMatchObject({ status: 1, stderr: expect.stringContaining('can not be reached') as string });
});
