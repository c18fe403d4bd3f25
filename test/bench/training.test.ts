import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';
import { ensurePythonEnv } from '../../scripts/stack/python-env.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-training-test-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...entryPoint('bench/run.ts'), 'training', ...args], {
    encoding: 'utf8',
    cwd: projectRoot(),
  });
}

test('both sides are the same model, and the bound follows from its shape (pytest)', async () => {
  const { path: python } = await ensurePythonEnv({ say: () => undefined });
  const root = projectRoot();
  const env = {
    ...process.env,
    PYTHONPATH: [join(root, 'bench', 'training'), join(root, 'trainer')].join(delimiter),
  };
  const args = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', join(import.meta.dirname, 'training')];
  const { status, stdout, stderr } = spawnSync(python, args, { encoding: 'utf8', env });
  expect(stdout + stderr).toContain('passed');
  expect(status).toBe(0);
});

test('the figures name the device and the shape they are of', async () => {
  const file = join(folder, 'training.json');
  const shape = [
    '--rows',
    '2000',
    '--features',
    '2',
    '--numbers',
    '1',
    '--buckets',
    '100',
    '--dim',
    '4',
    '--hidden',
    '8',
  ];
  const { status, stdout, stderr } = bench(...shape, '--batch', '128', '--steps', '3', '--rounds', '1', '--json', file);
  expect(stderr).toMatch(/^round 1 of 1: trainer /m);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^ratio +\d/m);
  const { figures } = JSON.parse(await readFile(file, 'utf8')) as { figures: Record<string, unknown> };
  expect(figures).toMatchObject({ rows: 2_000, features: 2, dim: 4, hidden: [8], batch: 128, threads: 1 });
  for (const name of ['samplesPerSecond', 'textbookSamplesPerSecond', 'ratio']) {
    expect(figures[name], name).toBeGreaterThan(0);
  }
  expect(figures['device']).toEqual(expect.any(String));
});

test.each([
  [['--rows', '5000'], /--rows 5000 is too few.*give more rows, or lower --steps, --batch or --buckets/],
  [['--batch', '0'], /--batch.*expected a whole number of at least 1/],
  [['--hidden', '64,wide'], /--hidden.*expected a whole number of at least 1/],
])('%j is refused in words', (args, reason) => {
  const { status, stderr } = bench(...args);
  expect(status).not.toBe(0);
  expect(stderr).toMatch(reason);
  expect(stderr).not.toMatch(/^ +at /m);
});
