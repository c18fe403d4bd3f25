import { readdir, rm } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { TrainerReport } from '../../../scripts/trainer-check/check-trainer.ts';
import { runFreshet } from '../../rig/freshet.ts';
import { secondTrainer } from '../../rig/second-trainer.ts';

/** Also the reference trainer starts a dozen times. */
const TIMEOUT_MS = 240_000;

const CHECKS = [
  ...['runs', 'unknown-fields', 'outputs', 'progress', 'stdout', 'result.json'],
  ...['model', 'model.batches', 'model.odd-rows', 'model.learns', 'model.ids', 'predictions'],
  ...[
    'warmStart',
    'incremental',
    'refuses.version',
    'refuses.empty',
    'refuses.column',
    'refuses.label',
    'refuses.checkpoint',
  ],
  ...['sigterm', 'sigterm.resume', 'sigkill.resume', 'determinism', 'determinism.resumed', 'processes'],
];

async function check(...args: string[]): Promise<TrainerReport & { code: number; folder?: string }> {
  const { code, out } = await runFreshet('trainer', 'check', '--json', '--deterministic', ...args);
  return { code, ...(JSON.parse(out) as TrainerReport & { folder?: string }) };
}

describe('freshet trainer check', () => {
  it.each<[string, () => string[]]>([
    ['the reference trainer', () => []],
    ['a trainer that shares no code with it', () => ['--', ...secondTrainer()]],
  ])(
    'passes %s in every check',
    async (_, args) => {
      const { code, ok, findings } = await check(...args());

      expect(findings.filter(({ status }) => status !== 'pass')).toEqual([]);
      expect(findings.map((finding) => finding.check)).toEqual(CHECKS);
      expect([ok, code]).toEqual([true, 0]);
    },
    TIMEOUT_MS,
  );

  it('ends with 1 when a check fails, and keeps the folder when asked to', async () => {
    const { code, ok, folder } = await check('--keep', '--only', 'outputs', '--', 'false');

    expect([ok, code]).toEqual([false, 1]);
    expect((await readdir(folder ?? '')).sort()).toEqual(['full', 'full-plain', 'snapshot']);
    await rm(folder ?? '', { recursive: true });
  });
});
