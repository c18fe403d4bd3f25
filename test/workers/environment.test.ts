import { isAbsolute, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { readEnvironment } from '../../workers/environment.ts';

it('makes the folders that a trainer is told of absolute', () => {
  const { FRESHET_WORK_ROOT, FRESHET_ARTIFACTS } = readEnvironment({ DATABASE_URL: 'x', FRESHET_WORK_ROOT: 'work' });

  expect(FRESHET_WORK_ROOT).toBe(resolve('work'));
  expect(isAbsolute(FRESHET_ARTIFACTS)).toBe(true);
});
