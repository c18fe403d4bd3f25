import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runTrainer, type TrainerExit, type TrainerLine } from '../../activities/trainer-process.ts';
import { fixtureTrainer, type TrainerMode } from '../rig/installation.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-trainer-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function run(
  command: string[],
  signal: AbortSignal = new AbortController().signal,
  onLine: (line: TrainerLine) => void = () => undefined,
): Promise<{ exit: TrainerExit; lines: TrainerLine[]; garbage: string[] }> {
  const manifestPath = join(folder, 'manifest.json');
  await writeFile(manifestPath, JSON.stringify({ workDir: join(folder, 'work'), outputDir: join(folder, 'out') }));
  const lines: TrainerLine[] = [];
  const garbage: string[] = [];
  const exit = await runTrainer({
    command,
    manifestPath,
    signal,
    graceMs: 2_000,
    onLine: (line) => {
      lines.push(line);
      onLine(line);
    },
    onGarbage: (text) => garbage.push(text),
  });
  return { exit, lines, garbage };
}

const fixture = (mode: TrainerMode): string[] => fixtureTrainer('rising', mode);

describe('runTrainer', () => {
  it('reports the lines of a trainer that finishes', async () => {
    const { exit, lines } = await run(fixture('ok'));

    expect(exit).toEqual({ kind: 'finished' });
    expect(lines).toMatchObject([{ type: 'progress', step: 5 }]);
  });

  it('hands over lines outside the contract and goes on', async () => {
    const { exit, garbage } = await run(fixture('garbage'));

    expect(exit.kind).toBe('finished');
    expect(garbage).toEqual(['Epoch 1/1 [=====>....] loss: nan?', '{"type": "dance"}']);
  });

  it.each([
    ['exit1', true, 'the trainer exited with code 1: out of luck: the disk is full'],
    ['bad-data', false, 'the trainer exited with code 2: column "label" is missing in train.parquet'],
  ] as const)('gives the last line of standard error as the reason (%s)', async (mode, retryable, message) => {
    const { exit } = await run(fixture(mode));

    expect(exit).toMatchObject({ kind: 'failed', retryable, message });
  });

  it('says what to check when the program does not exist', async () => {
    const { exit } = await run(['/no/such/trainer']);

    expect(exit).toMatchObject({ kind: 'failed', retryable: false });
    expect((exit as { message: string }).message).toMatch(/check training\.command/);
  });

  it('asks for a checkpoint on abort, and leaves nothing of the process group behind', async () => {
    const stop = new AbortController();
    const sign = join(folder, 'sign-of-life');
    // The trainer forks a helper that ignores SIGTERM: it has to go, too.
    const forking = [
      '/bin/bash',
      '-c',
      `(trap '' TERM; while true; do date >> ${sign}; sleep 0.05; done) & ${fixture('slow').join(' ')} "$0"; exit $?`,
    ];
    const { exit, lines } = await run(forking, stop.signal, () => {
      stop.abort();
    });

    expect(exit.kind).toBe('failed');
    expect(lines.map(({ type }) => type)).toContain('checkpoint');
    await wait(100);
    const { size } = await stat(sign);
    expect(size).toBeGreaterThan(0);
    await wait(300);
    expect((await stat(sign)).size).toBe(size);
  });
});
