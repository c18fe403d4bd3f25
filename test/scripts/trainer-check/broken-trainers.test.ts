import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  checkTrainer,
  type TrainerCheckOptions,
  type TrainerReport,
} from '../../../scripts/trainer-check/check-trainer.ts';
import { brokenTrainer } from '../../rig/second-trainer.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-check-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

type Options = Partial<Omit<TrainerCheckOptions, 'folder'>>;

const check = (options: Options & Pick<TrainerCheckOptions, 'command'>): Promise<TrainerReport> =>
  checkTrainer({ folder, ...options });

/** All that is wrong, as `status check: message`. */
function wrong({ findings }: TrainerReport): string[] {
  return findings
    .filter(({ status }) => status !== 'pass')
    .map(({ status, check: name, message }) => `${status} ${name}: ${message}`);
}

describe('the check of a trainer', () => {
  it.each<{ faults: string[]; options: Options; expected: RegExp[] }>([
    {
      faults: ['no-predictions', 'garbage'],
      options: { only: ['outputs'] },
      expected: [
        /^fail outputs: .*missing or empty: predictions\.parquet/,
        /^warn stdout: .*print this to standard error: Epoch 1\/4/,
        /^warn rest: not checked/,
      ],
    },
    {
      faults: ['input-name', 'wrong-progress'],
      options: { only: ['outputs'] },
      expected: [
        /^fail progress: .*"epoch": "first".*expected number/,
        /^fail model: the model takes categories int64 \[N, 2\].*gives ids int64 \[N, 2\]/,
        /^fail predictions: model\.onnx could not be compared/,
      ],
    },
    {
      faults: ['nan', 'no-progress', 'result'],
      options: { only: ['outputs'] },
      expected: [
        /^fail progress: no progress line/,
        /^fail result\.json: .*strategy/,
        /^fail model\.batches: in a batch of .* NaN/,
        /^fail model\.odd-rows: with all values missing: .*NaN/,
        /^fail predictions: .*impression-\d+/,
      ],
    },
    {
      faults: ['fixed-batch', 'unknown-fields'],
      options: { only: ['outputs'] },
      expected: [
        /^fail unknown-fields: .*it exited with 2: manifest: ofTheFuture is not a field; ignore them/,
        /^fail model\.batches: in a batch of 7 rows .*first dimension/,
        /^fail predictions/,
      ],
    },
    {
      faults: ['constant', 'leaves-process'],
      options: { only: ['outputs'] },
      expected: [
        /^warn model\.learns: AUC 0\.500/,
        /^warn model\.ids/,
        /^fail predictions: model\.onnx is not the model that was trained/,
        /^fail processes: .*\(sleep\); end what you start/,
      ],
    },
    {
      faults: ['double-ids', 'other-predictions', 'timestamp', 'warm-start'],
      options: { only: ['outputs', 'warm', 'determinism'], deterministic: true },
      expected: [
        /^warn model\.ids: .*cut to doubles\?/,
        /^fail predictions: model\.onnx is not the model that was trained.*at most 0\.0001 is allowed/,
        /^fail warmStart: from its own checkpoint it exited with 1: KeyError: 'optimiser'/,
        /^fail incremental: .*may treat it as warmStart/,
        /^fail determinism: the same manifest in another folder: model\.onnx differs/,
      ],
    },
    {
      faults: ['exit-code', 'silent-refusal'],
      options: { only: ['refusals'] },
      expected: [
        ...['version', 'empty', 'column', 'label'].map(
          (what) =>
            new RegExp(`^fail refuses\\.${what}: .*exited with 2 and said nothing: the last line of standard error`),
        ),
        /^fail refuses\.checkpoint: given a checkpoint that is none it exited with 1.*expected exit code 2/,
      ],
    },
    {
      faults: ['ignores-sigterm', 'no-resume'],
      options: { only: ['interruption'], graceMs: 300 },
      expected: [
        /^fail sigterm: it was still there after 0\.3 s and was killed; SIGTERM means: save a checkpoint/,
        /^fail sigterm\.resume: began again: epoch \d+ of 200, step 1 of 1 came first/,
        /^fail sigkill\.resume: began again/,
      ],
    },
    {
      faults: ['dies-of-sigterm', 'no-checkpoint'],
      options: { only: ['interruption'] },
      expected: [
        /^fail sigterm: it was ended by SIGTERM.*exit with 143/,
        /^fail sigterm\.resume: began again/,
        /^warn sigkill\.resume: not checked: it printed no checkpoint line/,
      ],
    },
  ])('tells what is wrong: $faults', async ({ faults, options, expected }) => {
    const report = await check({ command: brokenTrainer(...faults), ...options });

    const found = wrong(report);
    expect(found.length, found.join('\n')).toBe(expected.length);
    for (const [index, pattern] of expected.entries()) expect(found[index]).toMatch(pattern);
    expect(report.ok).toBe(!found.some((line) => line.startsWith('fail')));
  });

  it('says so when the program can not be started, and stops there', async () => {
    const report = await check({ command: ['/no/such/trainer'] });

    expect(wrong(report)).toEqual([
      expect.stringMatching(/^fail runs: a training in full could not be started: .*ENOENT/),
      expect.stringMatching(/^warn rest/),
    ]);
  });

  it('does not wait for what left its group and holds its output open', async () => {
    const report = await check({ command: ['bash', '-c', 'setsid sleep 8 & exit 1'], only: ['outputs'] });

    expect(wrong(report).at(-1)).toMatch(
      /^fail processes: .*left its group and holds its output open; end what you start/,
    );
  }, 20_000);

  it('ends a trainer that never ends', async () => {
    const report = await check({ command: ['sh', '-c', 'sleep 60'], timeoutMs: 200, only: ['outputs'] });

    expect(wrong(report)[0]).toMatch(/^fail runs: .*did not end within 0\.2 s and was killed/);
  });
});
