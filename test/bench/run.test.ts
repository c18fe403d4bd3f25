import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-bench-test-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...entryPoint('bench/run.ts'), ...args], {
    encoding: 'utf8',
    cwd: projectRoot(),
  });
  return { status, stdout, stderr };
}

test('without a name all benchmarks are listed, each with what it measures', () => {
  const { status, stdout } = bench();
  expect(status).toBe(0);
  expect(stdout).toMatch(/^ {2}checks {2,}profile and compare/m);
  expect(stdout).not.toContain('is no benchmark');
});

test('an unknown name is refused with those there are', () => {
  const { status, stderr } = bench('chekcs', '--json', join(folder, 'never.json'));
  expect(status).toBe(1);
  expect(stderr).toMatch(/^there is no benchmark "chekcs"/);
  expect(stderr).toMatch(/^ {2}checks {2,}/m);
});

test('a bad option is refused in words', () => {
  const { status, stderr } = bench('checks', '--rows', 'many');
  expect(status).not.toBe(0);
  expect(stderr).toMatch(/--rows.*expected a number of rows/);
  expect(stderr).not.toMatch(/^ +at /m);
});

test('figures, machine and command are written where told, and the drift that is in the data is found', async () => {
  const file = join(folder, 'checks.json');
  const args = ['checks', '--rows', '5000', '--large-rows', '0', '--no-evidently', '--json', file];
  const { status, stdout, stderr } = bench(...args);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^seconds /m);
  expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({
    figures: {
      rows: 5_000,
      columns: 25,
      seconds: expect.any(Number) as number,
      peakMiB: expect.any(Number) as number,
      drifted: ['c2', 'n3'],
      evidentlySeconds: null,
    },
    machine: { cores: expect.any(Number) as number, node: process.version },
    commands: [`npm run bench -- ${args.join(' ')}`, expect.stringContaining('profile-and-compare') as string],
  });
});
