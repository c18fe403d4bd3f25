import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CheckpointCopies, markCheckpointed, restoreCheckpoint } from '../../activities/trainer-checkpoints.ts';
import type { KeptCheckpoint } from '../../activities/trainer-heartbeats.ts';
import { openLocalScratch, type ScratchFolder } from '../../store/scratch-artifacts.ts';

let folder: string;
let workDir: string;
let scratch: ScratchFolder;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-checkpoints-'));
  workDir = join(folder, 'work');
  path = join(workDir, 'checkpoint.pt');
  await mkdir(workDir);
  scratch = openLocalScratch(join(folder, 'scratch')).of('line/cycle');
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function save(content: string): Promise<void> {
  await writeFile(`${path}.partial`, content);
  await rename(`${path}.partial`, path);
}

function copies(of: Partial<ScratchFolder> = {}) {
  const kept: KeptCheckpoint[] = [];
  const problems: string[] = [];
  const running = new CheckpointCopies({
    scratch: { ...scratch, ...of },
    workDir,
    attemptAtMs: 7,
    onKept: (checkpoint) => kept.push(checkpoint),
    onProblem: (message) => problems.push(message),
  });
  return { kept, problems, running };
}

it('copies one at a time, the newest first', async () => {
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const { kept, running } = copies({
    putFile: async (file) => {
      await gate;
      return scratch.putFile(file);
    },
  });
  await save('one');
  for (const step of [1, 2, 3, 4]) running.saw({ path, epoch: 1, step });
  await save('four');
  open();
  await running.settled(5_000);

  expect(kept.map(({ step }) => step)).toEqual([1, 4]);
  expect(kept.at(-1)).toMatchObject({ file: 'checkpoint.pt', attemptAtMs: 7 });
  expect(await readFile(await scratch.path(String(kept.at(-1)?.sha256)), 'utf8')).toBe('four');
});

it('copies whole what is replaced meanwhile', async () => {
  const { kept, running } = copies();
  const one = Buffer.alloc(20_000_000, 'one');
  await writeFile(path, one);
  running.saw({ path, epoch: 1, step: 1 });
  for (let step = 2; step < 10; step += 1) await save(`step ${String(step)}`);
  await running.settled(10_000);

  const content = await readFile(await scratch.path(String(kept[0]?.sha256)));
  expect(content.equals(one) || /^step \d$/.test(content.toString())).toBe(true);
});

it('says what could not be copied and goes on with the next', async () => {
  const { kept, problems, running } = copies();
  running.saw({ path: '/etc/hostname', epoch: 1, step: 1 });
  await running.settled(5_000);
  running.saw({ path, epoch: 1, step: 2 });
  await running.settled(5_000);
  await save('three');
  running.saw({ path, epoch: 1, step: 3 });
  await running.settled(5_000);

  expect(problems).toHaveLength(2);
  expect(problems[0]).toMatch(/outside the work folder/);
  expect(problems[1]).toMatch(/ENOENT/);
  expect(kept.map(({ step }) => step)).toEqual([3]);
});

it('waits no longer than told for a copy that hangs', async () => {
  const { running } = copies({ putFile: () => new Promise(() => undefined) });
  running.saw({ path, epoch: 1, step: 1 });
  await running.settled(20);
});

it.each([
  ['an empty work folder', null, null, 'restored', 'kept'],
  ['a checkpoint of an earlier attempt', 'old', 5, 'restored', 'kept'],
  ['a checkpoint that no attempt is known of', 'old', null, 'restored', 'kept'],
  ['the checkpoint of the same attempt', 'local', 7, 'local', 'local'],
  ['a checkpoint of a later attempt', 'local', 9, 'local', 'local'],
  ['a mark without its checkpoint', null, 9, 'restored', 'kept'],
] as const)('restores what is newer than %s', async (_, local, markedAtMs, kind, expected) => {
  const source = join(folder, 'source');
  await writeFile(source, 'kept');
  const { sha256 } = await scratch.putFile(source);
  if (local !== null) await save(local);
  if (markedAtMs !== null) await markCheckpointed(folder, markedAtMs);
  const kept = { sha256, file: 'checkpoint.pt', epoch: 1, step: 1, attemptAtMs: 7 };

  expect(await restoreCheckpoint({ scratch, folder, workDir, kept })).toEqual({ kind });
  expect(await readFile(path, 'utf8')).toBe(expected);
});

it('restores nothing that is damaged, or that leads out of the work folder', async () => {
  const kept = { sha256: 'a'.repeat(64), file: '../checkpoint.pt', epoch: 1, step: 1, attemptAtMs: 7 };

  expect(await restoreCheckpoint({ scratch, folder, workDir, kept })).toMatchObject({ kind: 'lost' });
  expect(await restoreCheckpoint({ scratch, folder, workDir, kept: { ...kept, file: 'c.pt' } })).toMatchObject({
    kind: 'lost',
    message: expect.stringMatching(/missing/) as string,
  });
  expect(await restoreCheckpoint({ scratch, folder, workDir, kept: null })).toEqual({ kind: 'nothingToRestore' });
});

it('forgets one checkpoint, or all of an owner, and never those of another', async () => {
  const store = openLocalScratch(join(folder, 'scratch'));
  await writeFile(path, 'x');
  const { sha256 } = await store.of('a/1').putFile(path);
  await store.of('b').putFile(path);

  await store.of('a/1').delete(sha256);
  await store.of('a/1').delete(sha256);
  await expect(store.of('a/1').path(sha256)).rejects.toThrow(/missing/);
  expect(await store.owners()).toEqual(['a%2F1', 'b'].map(decodeURIComponent));

  await store.delete('a/1');
  expect(await store.owners()).toEqual(['b']);
  await store.of('b').path(sha256);
});
