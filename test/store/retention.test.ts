import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ArtifactInventory } from '../../store/artifact-inventory.ts';
import { closeCycle } from '../../store/cycles.ts';
import { openDatabase } from '../../store/database.ts';
import { once } from '../../store/effects.ts';
import { pinVersion } from '../../store/pins.ts';
import { listRemoved } from '../../store/removed-artifacts.ts';
import { applyRetention, planRetention, type RetentionOptions, type RetentionResult } from '../../store/retention.ts';
import { operatorRollback } from '../../store/routes.ts';
import type { Lineage } from '../../store/types.ts';
import { createVersion, readVersion } from '../../store/versions.ts';
import { DAY, RetentionStage } from './retention-stage.ts';
import { alert } from './stage.ts';

const [LINE, OTHER] = ['news', 'video'];
const PARTS = ['model', 'checkpoint', 'manifest', 'predictions', 'result', 'train', 'holdout', 'profile'];

let stage: RetentionStage;

beforeEach(async () => {
  stage = await RetentionStage.create();
});
afterEach(() => stage.close());

const apply = (options: RetentionOptions = {}): Promise<RetentionResult> =>
  applyRetention(stage, { nowMs: stage.nowMs, ...options });

it('keeps the last three stables with their snapshots and the checkpoint before them, and nothing else', async () => {
  await stage.history(LINE, 5);
  const result = await apply();
  const left = await stage.stored();
  for (const number of [3, 4, 5]) {
    const own = PARTS.map((part) => `${LINE} ${String(number)} ${part}`);
    expect(left).toEqual(expect.arrayContaining(own));
  }
  expect(left).toContain(`${LINE} 2 checkpoint`);
  // It scored rows that a snapshot after a rollback to version 3 would hold.
  expect(left).toContain(`${LINE} 2 model`);
  expect(left).not.toContain(`${LINE} 2 result`);
  const others = left.filter((name) => /news 1 (?!train|manifest|profile)/.test(name));
  expect(others).toEqual([]);
  // Never trained in full since version 1: an evaluation asks which users and items these rows had.
  expect(left).toEqual(expect.arrayContaining([`${LINE} 1 train`, `${LINE} 2 train`]));
  expect(result).toMatchObject({ kind: 'done' });

  await expect(stage.artifacts.get(stage.sha256Of(`${LINE} 1 model`))).rejects.toMatchObject({
    kind: 'missing',
    removed: expect.stringMatching(
      /^model of version 1 of "news", removed by retention at 20.*: neither in use/,
    ) as string,
    message: expect.stringMatching(
      /^artifact [0-9a-f]{64} is missing: model of version 1 of "news", removed by/,
    ) as string,
  });
  expect(await apply()).toEqual({ kind: 'done', removed: [], bytes: 0 });
});

it('keeps what is pinned, and an operator can not roll back to what is gone', async () => {
  await stage.history(LINE, 5);
  await pinVersion(stage.db, { line: LINE, version: 2, who: 'ann', why: 'a paper' });
  await apply();
  const late = await pinVersion(stage.db, { line: LINE, version: 1, who: 'ann', why: 'too late' });
  expect(late.removed.map(({ what }) => what.replace(/ [0-9a-f]{12}$/, ''))).toEqual(
    expect.arrayContaining(['model of version 1', 'holdout of snapshot']),
  );
  const left = await stage.stored();
  expect(left).toEqual(expect.arrayContaining([`${LINE} 2 model`, `${LINE} 2 predictions`, `${LINE} 1 checkpoint`]));
  expect(left).not.toContain(`${LINE} 1 model`);
  const rollback = (toVersion: number): Promise<unknown> =>
    operatorRollback(stage.db, { line: LINE, toVersion, who: 'ann', why: 'worse', alert: alert('back') });
  await expect(rollback(1)).rejects.toThrow(
    /model of version 1 was removed by retention at .*name one that is there \(5, 4, 3, 2, 0\)/,
  );
  await rollback(2);
});

it('keeps what another line refers to', async () => {
  await stage.history(OTHER, 1, { model: 'the same bytes' });
  await stage.history(LINE, 5, { model: 'the same bytes' });
  const plan = await planRetention(stage, { nowMs: stage.nowMs });
  const shared = plan.find(({ owners }) => owners.length === 2);
  expect(shared).toMatchObject({
    verdict: 'kept',
    owners: [
      { line: LINE, keep: null },
      { line: OTHER, keep: 'is routed' },
    ],
  });
  await apply({ line: LINE });
  expect(Buffer.from(await stage.artifacts.get(shared?.name ?? '')).toString()).toBe('the same bytes');
  expect(await stage.stored()).not.toContain(`${LINE} 1 predictions`);
});

it('touches only the line it is asked for', async () => {
  await stage.history(LINE, 5);
  await stage.history(OTHER, 5);
  await apply({ line: OTHER });
  const left = await stage.stored();
  expect(left).toContain(`${LINE} 1 model`);
  expect(left).not.toContain(`${OTHER} 1 model`);
});

it('keeps what an open cycle took and trained, and lets go of it when it ended without a version', async () => {
  await stage.history(LINE, 4);
  const cycleId = await stage.claim(LINE, 9);
  const snapshotId = await stage.snapshot(LINE, 9);
  const [modelSha256, checkpointSha256] = [await stage.put('trained'), await stage.put('its checkpoint')];
  await once(stage.db, `${cycleId}/train/${snapshotId}`, () => Promise.resolve({ modelSha256, checkpointSha256 }));
  const work = [`${LINE} 9 train`, `${LINE} 9 holdout`, `${LINE} 9 manifest`, 'trained', 'its checkpoint'];
  await apply();
  expect(await stage.stored()).toEqual(expect.arrayContaining(work));

  await closeCycle(stage.db, { cycleId, outcome: 'rejected', reasons: [] });
  await apply();
  expect((await stage.stored()).filter((name) => work.includes(name))).toEqual([]);
  expect((await listRemoved(stage.db)).map(({ what }) => what)).toContain(
    `model of cycle ${cycleId}, snapshot ${snapshotId.slice(0, 12)}`,
  );
});

it('leaves young files alone, and one that is put again meanwhile', async () => {
  await stage.history(LINE, 5);
  const young = stage.sha256Of(`${LINE} 1 model`);
  await stage.age(young, DAY / 2);
  expect((await planRetention(stage, { nowMs: stage.nowMs })).find(({ name }) => name === young)).toMatchObject({
    verdict: 'young',
  });
  const putAgain = stage.sha256Of(`${LINE} 1 result`);
  const result = await applyRetention(
    {
      db: stage.db,
      inventory: {
        list: () => stage.inventory.list(),
        remove: async (name, before) => {
          if (name === putAgain) {
            await stage.artifacts.put(Buffer.from(`${LINE} 1 result`));
            await stage.age(name, 0);
          }
          return stage.inventory.remove(name, before);
        },
      },
    },
    { nowMs: stage.nowMs },
  );
  expect(result.kind).toBe('done');
  expect(await stage.stored()).toEqual(expect.arrayContaining([`${LINE} 1 model`, `${LINE} 1 result`]));
  const removed = (await listRemoved(stage.db)).map(({ sha256 }) => sha256);
  expect(removed).not.toContain(young);
  expect(removed).not.toContain(putAgain);
});

it('recovers from a crash between record and file', async () => {
  await stage.history(LINE, 5);
  // As a process that dies after the first file: it does nothing any more, and its lock goes with its connection.
  const dead = openDatabase(stage.url);
  let calls = 0;
  await new Promise<void>((crash) => {
    const crashing: ArtifactInventory = {
      list: () => stage.inventory.list(),
      remove: (name, before) => {
        if (++calls === 1) return stage.inventory.remove(name, before);
        crash();
        return new Promise(() => undefined);
      },
    };
    void applyRetention({ db: dead, inventory: crashing }, { nowMs: stage.nowMs });
  });
  await stage.db.query(
    `select pg_terminate_backend(pid, 5000) from pg_locks join pg_database d on d.oid = database
     where locktype = 'advisory' and datname = current_database()`,
  );
  const recorded = (await listRemoved(stage.db)).map(({ sha256 }) => sha256);
  expect(recorded.length).toBeGreaterThan(2);
  // What is there is handed out, whatever is recorded.
  const there = stage.sha256Of(`${LINE} 1 model`);
  const other = stage.sha256Of(`${LINE} 1 result`);
  await Promise.all([there, other].map((sha256) => stage.artifacts.put(Buffer.from(stage.nameOf(sha256)))));
  await stage.artifacts.get(there);

  await pinVersion(stage.db, { line: LINE, version: 1, who: 'ann', why: 'kept after all' });
  const result = await apply();
  expect(result).toMatchObject({ kind: 'done' });
  expect((await listRemoved(stage.db)).map(({ sha256 }) => sha256)).not.toContain(there);
  expect(await stage.stored()).toEqual(expect.arrayContaining([`${LINE} 1 model`, `${LINE} 1 result`]));
});

it('removes the others when a file can not be removed, and keeps no record of that one', async () => {
  await stage.history(LINE, 5);
  const stuck = stage.sha256Of(`${LINE} 1 model`);
  const inventory: ArtifactInventory = {
    list: () => stage.inventory.list(),
    remove: (name, before) =>
      name === stuck ? Promise.reject(new Error('EACCES: not yours')) : stage.inventory.remove(name, before),
  };
  await expect(applyRetention({ db: stage.db, inventory }, { nowMs: stage.nowMs })).rejects.toThrow(
    'could not be removed: EACCES: not yours; let this user write to it',
  );
  const left = await stage.stored();
  expect(left).toContain(`${LINE} 1 model`);
  expect(left).not.toContain(`${LINE} 1 result`);
  const recorded = (await listRemoved(stage.db)).map(({ sha256 }) => sha256);
  expect(recorded).toContain(stage.sha256Of(`${LINE} 1 result`));
  expect(recorded).not.toContain(stuck);
});

it('says no more that a file was removed once a new version has the same bytes', async () => {
  await stage.history(LINE, 5);
  await apply();
  const recorded = async (): Promise<string[]> => (await listRemoved(stage.db)).map(({ sha256 }) => sha256);
  const [model, result] = [await stage.put(`${LINE} 1 model`), await stage.put(`${LINE} 1 result`)];
  expect(await recorded()).toEqual(expect.arrayContaining([model, result]));
  const cycleId = await stage.claim(LINE, 6);
  const { lineage } = await readVersion(stage.db, { line: LINE, version: 1 });
  await createVersion(stage.db, {
    ...{ line: LINE, cycleId, effectKey: `${cycleId}/register`, parent: 5, features: [], metrics: {} },
    ...{ modelSha256: model, checkpointSha256: null, trainingCutoffMs: 6 * DAY, lineage: lineage as Lineage },
  });
  for (const sha256 of [model, result]) expect(await recorded()).not.toContain(sha256);
});

it('lets a version go on that begins to be used between plan and removal', async () => {
  await stage.history(LINE, 5);
  let looks = 0;
  const listing: ArtifactInventory = {
    remove: (name, before) => stage.inventory.remove(name, before),
    async *list() {
      looks += 1;
      yield* stage.inventory.list();
    },
  };
  // Holds the head as a pin does, from before the record until after it.
  const client = await stage.db.connect();
  await client.query('set idle_in_transaction_session_timeout = 0');
  await client.query('begin');
  await client.query('select from route_heads where line = $1 for update', [LINE]);
  const run = { ended: false };
  const applying = applyRetention({ db: stage.db, inventory: listing }, { nowMs: stage.nowMs }).finally(() => {
    run.ended = true;
  });
  await client.query(`insert into pins (line, version, who, why) values ($1, 1, 'ann', 'late')`, [LINE]);
  const waits = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  while (!run.ended && (await stage.db.query(waits)).rowCount === 0)
    await new Promise((resolve) => setImmediate(resolve));
  expect((await listRemoved(stage.db)).some(({ what }) => what === 'model of version 1')).toBe(true);
  await client.query('commit');
  client.release(true);
  await applying;
  expect(looks).toBe(1);
  expect(await stage.stored()).toContain(`${LINE} 1 model`);
  expect((await listRemoved(stage.db)).some(({ what }) => what.includes('version 1'))).toBe(false);
});

it('runs once at a time', async () => {
  const client = await stage.db.connect();
  await client.query(`select pg_advisory_lock(hashtextextended('freshet retention', 0))`);
  expect(await apply()).toEqual({ kind: 'busy' });
  client.release(true);
  await expect.poll(async () => (await apply()).kind).toBe('done');
});

it('removes what nobody refers to only when asked, a week later', async () => {
  await stage.history(LINE, 1);
  await stage.put('orphan');
  const young = await stage.put('young orphan');
  await stage.age(young, 2 * DAY);
  await mkdir(join(stage.folder, 'incoming'), { recursive: true });
  await writeFile(join(stage.folder, 'incoming', 'half-written'), 'ha');
  await utimes(join(stage.folder, 'incoming', 'half-written'), new Date(0), new Date(0));
  await apply();
  expect(await stage.stored()).toEqual(expect.arrayContaining(['orphan', 'young orphan', 'incoming/half-written']));
  await apply({ orphans: true });
  const left = await stage.stored();
  expect(left).toContain('young orphan');
  expect(left).not.toContain('orphan');
  expect(await readdir(join(stage.folder, 'incoming'))).toEqual([]);
  expect(await listRemoved(stage.db)).toEqual([]);
});

it('removes nothing of a line whose stored config can not be read', async () => {
  await stage.history(LINE, 5);
  await stage.db.query(`update lines set config = '{}' where line = $1`, [LINE]);
  expect(await apply()).toEqual({ kind: 'done', removed: [], bytes: 0 });
});
