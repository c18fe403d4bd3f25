import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  claimCycle,
  closeCycle,
  listCycles,
  openCycle,
  readCycle,
  recordPhases,
  type ClaimResult,
} from '../../store/cycles.ts';
import { applyLine } from '../../store/lines.ts';
import { currentRoute } from '../../store/routes.ts';
import type { CycleRecord } from '../../store/types.ts';
import { listVersions } from '../../store/versions.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import {
  alert,
  alone,
  canary,
  claim,
  LINE,
  lineConfig,
  lineWithCandidate,
  lineWithStable,
  move,
  register,
} from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

function tryClaim(
  cycleId: string,
  {
    isRunOver = () => Promise.resolve(false),
    runId = `run-${cycleId}`,
  }: {
    isRunOver?: (cycle: CycleRecord) => Promise<boolean>;
    runId?: string;
  } = {},
): Promise<ClaimResult> {
  return claimCycle(test.db, {
    line: LINE,
    cycleId,
    workflowId: `workflow-${cycleId}`,
    runId,
    trigger: 'test',
    isRunOver,
  });
}

const over = (): Promise<boolean> => Promise.resolve(true);

describe('claimCycle', () => {
  it('gives the line to one of many starts at once', async () => {
    await applyLine(test.db, { config: lineConfig(), who: 'test' });
    const results = await Promise.all(Array.from({ length: 12 }, (_, index) => tryClaim(`c${String(index)}`)));
    const [winner, ...others] = results.filter(({ kind }) => kind === 'claimed');
    expect(others).toEqual([]);
    if (winner?.kind !== 'claimed') throw new Error('nobody claimed the line');
    const busy = results.filter((result) => result.kind === 'busy');
    expect(busy.map(({ by }) => by.cycleId)).toEqual(Array(11).fill(winner.cycle.cycleId));
    expect(await openCycle(test.db, LINE)).toEqual(winner.cycle);
  });

  it('freezes the config in force and records the stable', async () => {
    const { db } = test;
    await lineWithStable(db);
    const before = lineConfig();
    const cycle = await claim(db, 'c');
    await applyLine(db, { config: lineConfig({ description: 'changed' }), who: 'test' });
    expect(cycle).toMatchObject({ stableAtStart: 1, candidate: null, trigger: 'test', outcome: null, closedAt: null });
    expect((await readCycle(db, 'c')).config).toEqual(before);
  });

  it('is safe to repeat, at once and later, and follows the workflow to a later run', async () => {
    await applyLine(test.db, { config: lineConfig(), who: 'test' });
    const [one, two] = await Promise.all([tryClaim('c'), tryClaim('c')]);
    expect(one).toEqual(two);
    expect(await tryClaim('c', { runId: 'later' })).toMatchObject({ kind: 'claimed', cycle: { runId: 'later' } });
    expect(await listCycles(test.db, { line: LINE })).toHaveLength(1);
    const foreign = { line: LINE, cycleId: 'c', workflowId: 'other', runId: 'r', trigger: 'test', isRunOver: over };
    await expect(claimCycle(test.db, foreign)).rejects.toThrow(/cycle "c" belongs to workflow "workflow-c"/);
  });

  it('says so when the cycle was closed since', async () => {
    await applyLine(test.db, { config: lineConfig(), who: 'test' });
    await tryClaim('c');
    await closeCycle(test.db, { cycleId: 'c', outcome: 'skipped', reasons: [] });
    expect(await tryClaim('c')).toEqual({ kind: 'cycleClosed', outcome: 'skipped' });
  });

  it.each(['canary', 'shadow'] as const)(
    'takes over the claim of a run that is over and removes its %s',
    async (as) => {
      const { db } = test;
      const { candidate, route } = await lineWithCandidate(db, { cycleId: 'dead', as });
      const isRunOver = vi.fn(over);
      const result = await tryClaim('next', { isRunOver });
      expect(isRunOver).toHaveBeenCalledExactlyOnceWith(
        expect.objectContaining({ cycleId: 'dead', runId: 'run-dead' }),
      );
      expect(result).toMatchObject({
        kind: 'claimed',
        takenOver: 'dead',
        cycle: { cycleId: 'next', stableAtStart: 1 },
      });
      expect(await currentRoute(db, LINE)).toMatchObject({ ...alone(1), epoch: route.epoch + 1, who: 'cycle next' });
      expect(await readCycle(db, 'dead')).toMatchObject({ outcome: 'aborted', reasons: [{ code: 'cycle.takenOver' }] });
      expect((await listVersions(db, LINE))[0]).toMatchObject({ version: candidate, status: 'rolledBack' });
      const { rows } = await db.query(
        `select dedup_key, (select count(*) from leases) as leases from outbox order by id desc limit 1`,
      );
      expect(rows).toEqual([{ dedup_key: 'dead/takenOver', leases: 0 }]);
      expect(await tryClaim('next')).toEqual(result);
      expect(await move(db, { cycleId: 'dead', next: canary(1, candidate), expectedEpoch: route.epoch + 1 })).toEqual({
        kind: 'cycleClosed',
        outcome: 'aborted',
      });
    },
  );

  it('writes no epoch for a dead run that had routed nothing', async () => {
    const { epoch } = await lineWithStable(test.db);
    await tryClaim('dead');
    expect(await tryClaim('next', { isRunOver: over })).toMatchObject({ kind: 'claimed', takenOver: 'dead' });
    expect((await currentRoute(test.db, LINE)).epoch).toBe(epoch);
  });

  it('lets one of several that take over at once have the line', async () => {
    await lineWithCandidate(test.db, { cycleId: 'dead' });
    const isRunOver = ({ cycleId }: CycleRecord): Promise<boolean> => Promise.resolve(cycleId === 'dead');
    const results = await Promise.all(['a', 'b', 'c', 'd'].map((cycleId) => tryClaim(cycleId, { isRunOver })));
    expect(results.map(({ kind }) => kind).sort()).toEqual(['busy', 'busy', 'busy', 'claimed']);
    expect((await currentRoute(test.db, LINE)).epoch).toBe(4);
  });

  it('takes nothing over while Temporal can not be asked', async () => {
    await lineWithCandidate(test.db, { cycleId: 'c' });
    const isRunOver = (): Promise<boolean> => Promise.reject(new Error('Temporal is gone'));
    await expect(tryClaim('next', { isRunOver })).rejects.toThrow('Temporal is gone');
    expect(await openCycle(test.db, LINE)).toMatchObject({ cycleId: 'c' });
  });

  it('takes nothing over from a run that began after Temporal was asked about the one before', async () => {
    await applyLine(test.db, { config: lineConfig(), who: 'test' });
    await tryClaim('c');
    const isRunOver = async ({ runId }: CycleRecord): Promise<boolean> => {
      if (runId === 'run-c') await tryClaim('c', { runId: 'reset' });
      return runId === 'run-c';
    };
    expect(await tryClaim('next', { isRunOver })).toMatchObject({ kind: 'busy', by: { cycleId: 'c', runId: 'reset' } });
  });

  it('names the lines there are when there is no such line', async () => {
    await expect(tryClaim('c')).rejects.toThrow(
      'no model line "news-feed": there are none yet. Apply its config first',
    );
  });
});

describe('closeCycle', () => {
  it('closes once: the first outcome stays', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    await claim(db, 'c');
    const reasons = [{ code: 'volume', message: '12 rows' }];
    const first = await closeCycle(db, { cycleId: 'c', outcome: 'skipped', reasons, alert: alert('c/skipped') });
    expect(first).toMatchObject({ outcome: 'skipped', reasons });
    const again = { cycleId: 'c', outcome: 'failed', reasons: [], alert: alert('c/failed') } as const;
    expect(await closeCycle(db, again)).toEqual(first);
    const { rows } = await db.query('select dedup_key from outbox');
    expect(rows).toEqual([{ dedup_key: 'c/skipped' }]);
  });

  it.each([
    ['rejected', 'rejected'],
    ['skipped', 'rolledBack'],
    ['aborted', 'rolledBack'],
    ['failed', 'rolledBack'],
  ] as const)('never leaves the candidate of a cycle that ends %s in the route', async (outcome, status) => {
    const { db } = test;
    const { route } = await lineWithCandidate(db, { cycleId: 'c' });
    const reasons = [{ code: 'x', message: 'because' }];
    await closeCycle(db, { cycleId: 'c', outcome, reasons, who: 'test' });
    expect(await currentRoute(db, LINE)).toMatchObject({
      ...alone(1),
      epoch: route.epoch + 1,
      why: 'because',
      who: 'test',
    });
    expect((await listVersions(db, LINE))[0]?.status).toBe(status);
    expect((await db.query('select from leases')).rowCount).toBe(0);
  });

  it('leaves the route alone when nothing of the cycle is in it', async () => {
    const { db } = test;
    const { epoch } = await lineWithStable(db);
    await claim(db, 'c');
    await register(db, 'c', 1);
    await closeCycle(db, { cycleId: 'c', outcome: 'aborted', reasons: [] });
    expect((await currentRoute(db, LINE)).epoch).toBe(epoch);
    expect((await listVersions(db, LINE))[0]?.status).toBe('rejected');
  });
});

describe('records of cycles', () => {
  it('keep the phases, also after the cycle was closed', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    await claim(db, 'c');
    await closeCycle(db, { cycleId: 'c', outcome: 'skipped', reasons: [] });
    const phases = [{ phase: 'snapshot', startedAt: '2025-01-01T00:00:00.000Z', endedAt: null }];
    await recordPhases(db, { cycleId: 'c', phases });
    expect((await readCycle(db, 'c')).phases).toEqual(phases);
    await expect(recordPhases(db, { cycleId: 'x', phases })).rejects.toThrow(/no cycle "x"/);
    await expect(readCycle(db, 'x')).rejects.toThrow(/no cycle "x"/);
  });

  it('are listed newest first', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    for (const cycleId of ['a', 'b', 'c']) {
      await claim(db, cycleId);
      await closeCycle(db, { cycleId, outcome: 'skipped', reasons: [] });
    }
    expect((await listCycles(db, { line: LINE, limit: 2 })).map(({ cycleId }) => cycleId)).toEqual(['c', 'b']);
    expect(await openCycle(db, LINE)).toBeNull();
  });
});
