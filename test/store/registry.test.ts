import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lineConfigSchema } from '../../config/schema.ts';
import { atSpeed } from '../../config/speed.ts';
import { closeCycle, readCycle } from '../../store/cycles.ts';
import { once } from '../../store/effects.ts';
import { databaseEventClock, readEventNow, setEventClock } from '../../store/event-clock.ts';
import { applyLine, configHash, listLines, readLine } from '../../store/lines.ts';
import { currentRoute } from '../../store/routes.ts';
import { readSnapshot, saveReport, saveSnapshot } from '../../store/snapshots.ts';
import { parentFor } from '../../store/parents.ts';
import { listVersions, readVersion } from '../../store/versions.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { alone, claim, LINE, lineConfig, lineWithCandidate, lineWithStable, register } from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

describe('lines', () => {
  it('begin with version 0 as their stable and epoch 1, also when they are applied twice at once', async () => {
    const { db } = test;
    const config = lineConfig();
    const results = await Promise.all([1, 2, 3].map(() => applyLine(db, { config, who: 'test' })));
    expect(results.map(({ kind }) => kind).sort()).toEqual(['created', 'unchanged', 'unchanged']);
    expect(await currentRoute(db, LINE)).toMatchObject({ ...alone(0), epoch: 1, cycleId: null, who: 'test' });
    expect(await listVersions(db, LINE)).toMatchObject([
      { version: 0, status: 'stable', modelSha256: null, lineage: {} },
    ]);
    expect(await parentFor(db, { line: LINE, stable: 0 })).toEqual({ parent: null, reason: null });
  });

  it('take a changed config and keep their route', async () => {
    const { db } = test;
    await lineWithStable(db);
    const config = lineConfig({ description: 'changed' });
    expect(await applyLine(db, { config, who: 'somebody' })).toMatchObject({
      kind: 'updated',
      line: { config, appliedBy: 'somebody', configHash: configHash(config) },
    });
    expect(await currentRoute(db, LINE)).toMatchObject({ epoch: 2, stable: 1 });
    expect((await listLines(db)).map(({ line }) => line)).toEqual([LINE]);
  });

  it('read back what was applied, at any speed, whatever the order of keys', async () => {
    const { db } = test;
    const config = atSpeed(lineConfig(), 37);
    await applyLine(db, { config, who: 'test' });
    expect((await readLine(db, LINE)).config).toEqual(config);
    const shuffled = lineConfigSchema.parse(Object.fromEntries(Object.entries(config).reverse()));
    expect(configHash(shuffled)).toBe(configHash(config));
    expect(configHash(lineConfig())).not.toBe(configHash(config));
  });

  it('say what is wrong with a config that an older build stored', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    await db.query(`update lines set config = config - 'features'`);
    await expect(readLine(db, LINE)).rejects.toThrow(
      /stored config of line "news-feed" .*features.*: apply its config again/,
    );
    await expect(readLine(db, 'sports')).rejects.toThrow('no model line "sports": there are news-feed');
  });
});

describe('versions', () => {
  it('are numbered without gaps, with their lineage, and become the candidate of their cycle', async () => {
    const { db } = test;
    await lineWithStable(db);
    await claim(db, 'c');
    const [one, two] = await Promise.all([register(db, 'c', 1), register(db, 'c', 1)]);
    expect(one).toEqual(two);
    expect(one).toMatchObject({
      version: 2,
      status: 'candidate',
      parent: 1,
      cycleId: 'c',
      trainingCutoffMs: 1_700_000_000_000,
    });
    expect(one.lineage).toMatchObject({ cycleId: 'c', seed: 1, config: lineConfig() });
    expect(await readVersion(db, { line: LINE, version: 2 })).toEqual(one);
    expect((await readCycle(db, 'c')).candidate).toBe(2);
    expect((await listVersions(db, LINE)).map(({ version }) => version)).toEqual([2, 1, 0]);
    expect(await parentFor(db, { line: LINE, stable: 1 })).toEqual({ parent: 1, reason: null });
  });

  it('get numbers of their own when several are registered at once', async () => {
    const { db } = test;
    await lineWithStable(db);
    const cycles = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const cycleId of cycles) {
      await claim(db, cycleId);
      await closeCycle(db, { cycleId, outcome: 'aborted', reasons: [] });
    }
    const versions = await Promise.all(cycles.map((cycleId) => register(db, cycleId, 1)));
    expect(versions.map(({ version }) => version).sort()).toEqual([2, 3, 4, 5, 6, 7]);
  });

  it('are one a cycle, of its own line, with a parent that exists', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    await db.query(`delete from effects where key = 'c/register'`);
    await expect(register(db, 'c', 1)).rejects.toThrow(/cycle "c" already registered version 2/);
    await closeCycle(db, { cycleId: 'c', outcome: 'aborted', reasons: [] });
    await claim(db, 'd');
    await expect(register(db, 'd', 9)).rejects.toThrow(/line "news-feed" has no version 9/);
  });

  it('of a cycle that was closed meanwhile are on record as rejected', async () => {
    const { db } = test;
    await lineWithStable(db);
    await claim(db, 'c');
    await closeCycle(db, { cycleId: 'c', outcome: 'aborted', reasons: [] });
    expect(await register(db, 'c', 1)).toMatchObject({ version: 2, status: 'rejected' });
  });
});

describe('effects', () => {
  it('happen once a key, also when they are asked for at once, and repeat their result', async () => {
    const { db } = test;
    let runs = 0;
    const effect = (): Promise<{ run: number; nothing: null }> => Promise.resolve({ run: (runs += 1), nothing: null });
    const results = await Promise.all(Array.from({ length: 8 }, () => once(db, 'key', effect)));
    expect(results).toEqual(Array(8).fill({ run: 1, nothing: null }));
    expect(runs).toBe(1);
    expect(await once(db, 'other', effect)).toEqual({ run: 2, nothing: null });
    expect(await once(db, 'null', () => Promise.resolve(null))).toBeNull();
    expect(await once(db, 'null', effect)).toBeNull();
  });

  it('that fail are not recorded, and neither are the writes they made', async () => {
    const { db } = test;
    const failing = once(db, 'key', async (tx) => {
      await tx.query(`insert into outbox (dedup_key, severity, alert) values ('x', 'info', '{}')`);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect((await db.query('select from outbox')).rowCount).toBe(0);
    expect(await once(db, 'key', () => Promise.resolve('yes'))).toBe('yes');
  });
});

describe('the event clock', () => {
  it('is the wall clock until a replayer drives it', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    const before = Date.now();
    expect(Math.abs((await readEventNow(db, LINE)) - before)).toBeLessThan(60_000);
    await setEventClock(db, { line: LINE, eventMs: 1_650_000_000_000, rate: 0 });
    expect(await databaseEventClock(db, LINE).now()).toBe(1_650_000_000_000);
  });

  it('runs at its rate from the operating time it was set for', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    const operatingMs = Date.now() - 3_600_000.5;
    await setEventClock(db, { line: LINE, eventMs: 1_650_000_000_000.4, operatingMs, rate: 24 });
    const elapsed = (await readEventNow(db, LINE)) - 1_650_000_000_000;
    expect(elapsed).toBeGreaterThanOrEqual(86_399_000);
    expect(elapsed).toBeLessThan(86_400_000 + 24 * 60_000);
  });

  it('belongs to a line', async () => {
    await expect(readEventNow(test.db, 'x')).rejects.toThrow(/no model line "x"/);
    await expect(setEventClock(test.db, { line: 'x', eventMs: 0, rate: 1 })).rejects.toThrow(/no model line "x"/);
  });
});

describe('snapshots', () => {
  it('keep their first manifest and the last report', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    await claim(db, 'c');
    const snapshot = { snapshotId: 's', line: LINE, cycleId: 'c', manifest: { rows: 3 } };
    await saveSnapshot(db, snapshot);
    await saveSnapshot(db, { ...snapshot, manifest: { rows: 4 } });
    expect(await readSnapshot(db, 's')).toMatchObject({ ...snapshot, report: null });
    await saveReport(db, { snapshotId: 's', report: { verdict: 'block' } });
    await saveReport(db, { snapshotId: 's', report: { verdict: 'pass' } });
    expect((await readSnapshot(db, 's')).report).toEqual({ verdict: 'pass' });
    await expect(readSnapshot(db, 'x')).rejects.toThrow(/no snapshot "x"/);
    await expect(saveReport(db, { snapshotId: 'x', report: {} })).rejects.toThrow(/no snapshot "x"/);
  });
});
