import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  runTrainer,
  type TrainerExit,
  type TrainerLine,
  type TrainerProcessOptions,
} from '../../activities/trainer-process.ts';
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
  more: Partial<TrainerProcessOptions> = {},
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
    ...more,
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

  it('gives the last line of standard error as the reason', async () => {
    const { exit } = await run(fixture('bad-data'));

    expect(exit).toMatchObject({ kind: 'failed', code: 2, type: 'TrainerInputError', retryable: false });
    expect((exit as { message: string }).message).toMatch(
      /^the trainer exited with code 2: column "label" is missing in train\.parquet; /,
    );
  });

  it('says what to check when the program does not exist', async () => {
    const { exit } = await run(['/no/such/trainer']);

    expect(exit).toMatchObject({ kind: 'failed', type: 'TrainerNotFound', retryable: false });
    expect((exit as { message: string }).message).toMatch(/check training\.command/);
  });

  it('takes a trainer for killed that somebody else killed', async () => {
    const { exit } = await run(['/bin/sh', '-c', 'echo "epoch 3" >&2; kill -9 $$']);

    expect(exit).toMatchObject({ kind: 'failed', signal: 'SIGKILL', type: 'TrainerKilled', retryable: true });
    expect((exit as { message: string }).message).toMatch(/epoch 3; .*memory killer/);
  });

  it('finds behind torchrun what happened to the process that failed first', async () => {
    const torchrun = (failed: string): string[] => [
      '/bin/sh',
      '-c',
      `echo 'loss is nan in epoch 2' >&2
       echo 'W1121 06:40:57.637000 54 torch/distributed/elastic/multiprocessing/api.py:1012] Sending process 5 closing signal SIGTERM' >&2
       echo 'E1121 06:40:57.638000 54 torch/distributed/elastic/multiprocessing/api.py:986] failed (exitcode: ${failed}) local_rank: 0 (pid: 5431) of binary: python' >&2
       echo 'Traceback (most recent call last):' >&2
       echo '  File "/lib/torch/distributed/run.py", line 994, in <module>' >&2
       echo '===========' >&2
       exit 1`,
    ];

    const nan = await run(torchrun('3'));
    expect(nan.exit).toMatchObject({ code: 3, type: 'TrainerNumericalError', retryable: false });
    expect((nan.exit as { message: string }).message).toMatch(
      /^the trainer exited with code 3: loss is nan in epoch 2;/,
    );
    const killed = await run(torchrun('-9'));
    expect(killed.exit).toMatchObject({ code: null, signal: 'SIGKILL', type: 'TrainerKilled' });
  });

  it('ends a trainer that hangs and does not mind SIGTERM', async () => {
    const { exit } = await run(fixtureTrainer('rising', 'hang'), undefined, undefined, {
      silenceLimitMs: 800,
      graceMs: 200,
    });

    expect(exit).toMatchObject({ kind: 'failed', type: 'TrainerHung', retryable: true });
  });

  it('leaves nothing behind of a trainer that left its process group', async () => {
    const sign = join(folder, 'sign-of-life');
    const daemon = `setsid /bin/sh -c 'while true; do date >> ${sign}; sleep 0.05; done' & sleep 0.3; exit 1`;
    const { exit } = await run(['/bin/bash', '-c', daemon]);

    expect(exit).toMatchObject({ kind: 'failed', type: 'TrainerFailed' });
    const { size } = await stat(sign);
    await wait(300);
    expect((await stat(sign)).size).toBe(size);
  });

  it('does not wait for one that hid and holds its output open', async () => {
    const hidden = join(folder, 'hidden');
    const daemon = `setsid env -i /bin/sh -c 'echo $$ > ${hidden}; exec sleep 60' & while [ ! -s ${hidden} ]; do sleep 0.05; done; echo why >&2; exit 1`;
    const { exit } = await run(['/bin/bash', '-c', daemon]);
    process.kill(Number(await readFile(hidden, 'utf8')), 'SIGKILL');

    expect(exit).toMatchObject({ kind: 'failed', type: 'TrainerFailed' });
    expect((exit as { message: string }).message).toMatch(/exited with code 1: why/);
  }, 20_000);

  it('ends what an earlier run of the same training left running', async () => {
    const sign = join(folder, 'sign-of-life');
    const mark = join(folder, 'training');
    const orphan = spawn('/bin/sh', ['-c', `while true; do date >> ${sign}; sleep 0.05; done`], {
      env: { ...process.env, FRESHET_TRAINER_MARK: mark },
      stdio: 'ignore',
    });
    const gone = once(orphan, 'exit');

    await run(fixture('ok'), undefined, undefined, { mark });

    expect(await gone).toEqual([null, 'SIGKILL']);
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
