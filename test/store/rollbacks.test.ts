import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeCycle, readCycle } from '../../store/cycles.ts';
import { openDatabase, transaction } from '../../store/database.ts';
import { renewLease } from '../../store/leases.ts';
import { applyLine } from '../../store/lines.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { currentRoute, routeHistory } from '../../store/routes.ts';
import { listVersions } from '../../store/versions.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { inOrder } from './in-order.ts';
import {
  alert,
  alone,
  canary,
  claim,
  LEASE_MS,
  LINE,
  lineConfig,
  lineWithCandidate,
  lineWithStable,
  move,
  moved,
  promoteCandidate,
  register,
  rollback,
} from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

async function countOf(table: 'routes' | 'outbox' | 'leases'): Promise<number> {
  const { rows } = await test.db.query<{ count: number }>(`select count(*) from ${table}`);
  return rows[0]?.count ?? -1;
}

async function statuses(): Promise<string[]> {
  return (await listVersions(test.db, LINE)).map(({ status }) => status).reverse();
}

describe('rollbackCycle', () => {
  it('takes the candidate out, closes the cycle, ends the lease and writes the alert together', async () => {
    const { db } = test;
    const { route } = await lineWithCandidate(db, { cycleId: 'c' });
    const result = await rollback(db, 'c');
    expect(result).toMatchObject({ alreadyDone: false, route: { ...alone(1), epoch: route.epoch + 1, cycleId: 'c' } });
    expect(await currentRoute(db, LINE)).toEqual(result.route);
    expect(await readCycle(db, 'c')).toMatchObject({ outcome: 'rolledBack', reasons: [{ code: 'health.logLoss' }] });
    expect(await statuses()).toEqual(['archived', 'stable', 'rolledBack']);
    expect(await countOf('leases')).toBe(0);
    expect((await db.query(`select from outbox where dedup_key = 'c/rolledBack'`)).rowCount).toBe(1);
  });

  it('writes a new epoch even when stable already serves alone', async () => {
    const { db } = test;
    const { epoch } = await lineWithStable(db);
    await claim(db, 'c');
    expect((await rollback(db, 'c')).route).toMatchObject({ ...alone(1), epoch: epoch + 1 });
  });

  it('writes nothing when it is repeated, at once or later or under another key', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    const [one, two, three] = await Promise.all([rollback(db, 'c'), rollback(db, 'c'), rollback(db, 'c')]);
    expect([one, two, three].filter(({ alreadyDone }) => !alreadyDone)).toHaveLength(1);
    expect(two.route).toEqual(one.route);
    expect(three.route).toEqual(one.route);
    const written = [await countOf('routes'), await countOf('outbox')];
    await claim(db, 'next');
    await rollback(db, 'next');
    expect(await rollback(db, 'c')).toEqual({ route: one.route, alreadyDone: true });
    await db.query(`delete from effects where key = 'c/rollback'`);
    expect(await rollback(db, 'c')).toEqual({ route: one.route, alreadyDone: true });
    expect([await countOf('routes'), await countOf('outbox')]).toEqual(written.map((count) => count + 1));
  });

  it.each(['rejected', 'skipped', 'aborted', 'failed'] as const)(
    'leaves a cycle that was closed as %s',
    async (outcome) => {
      const { db } = test;
      await lineWithCandidate(db, { cycleId: 'c' });
      await closeCycle(db, { cycleId: 'c', outcome, reasons: [] });
      const before = await currentRoute(db, LINE);
      expect(before).toMatchObject(alone(1));
      expect(await rollback(db, 'c')).toEqual({ route: before, alreadyDone: true });
      expect((await readCycle(db, 'c')).outcome).toBe(outcome);
    },
  );

  it('refuses a deploy that commits after it', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const deploy = { cycleId: 'c', next: canary(1, candidate, 0.5), expectedEpoch: route.epoch };
    const [, late] = await inOrder<unknown>(db, 'c', [() => rollback(db, 'c'), () => move(db, deploy)]);
    expect(late).toEqual({ kind: 'cycleClosed', outcome: 'rolledBack' });
    const { epoch } = await currentRoute(db, LINE);
    expect(await move(db, { ...deploy, expectedEpoch: epoch })).toMatchObject({ kind: 'cycleClosed' });
    expect(await currentRoute(db, LINE)).toMatchObject({ ...alone(1), epoch });
  });

  it('undoes a deploy that commits just before it', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const deploy = { cycleId: 'c', next: canary(1, candidate, 0.5), expectedEpoch: route.epoch };
    const [early] = await inOrder<unknown>(db, 'c', [() => move(db, deploy), () => rollback(db, 'c')]);
    expect(early).toMatchObject({ kind: 'moved' });
    expect(await currentRoute(db, LINE)).toMatchObject({ ...alone(1), epoch: route.epoch + 2 });
  });

  it('wins over a promote that comes after it', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const promotion = { cycleId: 'c', version: candidate, expectedEpoch: route.epoch };
    const [, refused] = await inOrder<unknown>(db, 'c', [
      () => rollback(db, 'c'),
      () => promoteCandidate(db, promotion),
    ]);
    expect(refused).toEqual({ kind: 'cycleClosed', outcome: 'rolledBack' });
    expect(await currentRoute(db, LINE)).toMatchObject(alone(1));
    expect(await statuses()).toEqual(['archived', 'stable', 'rolledBack']);
  });

  it('wins over a promote that came before it', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const promotion = { cycleId: 'c', version: candidate, expectedEpoch: route.epoch };
    const [promoted] = await inOrder<unknown>(db, 'c', [
      () => promoteCandidate(db, promotion),
      () => rollback(db, 'c'),
    ]);
    expect(promoted).toMatchObject({ kind: 'moved', route: { stable: candidate } });
    expect(await currentRoute(db, LINE)).toMatchObject({ ...alone(1), epoch: route.epoch + 2 });
    expect(await readCycle(db, 'c')).toMatchObject({ outcome: 'rolledBack' });
    expect(await statuses()).toEqual(['archived', 'stable', 'rolledBack']);
  });

  it('ends every unordered race with deploys, a promote and lease renewals on the old stable', async () => {
    const { db } = test;
    await lineWithStable(db);
    for (let round = 0; round < 15; round += 1) {
      const cycleId = `race-${String(round)}`;
      const { epoch } = await currentRoute(db, LINE);
      await claim(db, cycleId);
      const { version } = await register(db, cycleId, 1);
      const first = moved(await move(db, { cycleId, next: canary(1, version), expectedEpoch: epoch }));
      await Promise.all([
        promoteCandidate(db, { cycleId, version, expectedEpoch: first.epoch }),
        move(db, { cycleId, next: canary(1, version, 0.5), expectedEpoch: first.epoch, effectKey: `${cycleId}/more` }),
        renewLease(db, { cycleId, startedAt: new Date(), leaseMs: LEASE_MS }),
        rollback(db, cycleId),
        rollback(db, cycleId),
      ]);
      expect(await currentRoute(db, LINE)).toMatchObject(alone(1));
      expect((await readCycle(db, cycleId)).outcome).toBe('rolledBack');
      expect(await countOf('leases')).toBe(0);
    }
  });

  it('leaves a stable that an operator chose in the meantime', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    moved(await promoteCandidate(db, { cycleId: 'c', version: candidate, expectedEpoch: route.epoch }));
    await operatorRollback(db, { line: LINE, toVersion: 0, who: 'op', why: 'bad', alert: alert('op') });
    const { route: after, alreadyDone } = await rollback(db, 'c');
    expect(alreadyDone).toBe(false);
    expect(after).toMatchObject(alone(0));
    expect(await statuses()).toEqual(['stable', 'archived', 'rolledBack']);
  });

  it("keeps a later cycle's canary, which then can neither be renewed nor promoted", async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const promoted = moved(
      await promoteCandidate(db, { cycleId: 'c', version: candidate, expectedEpoch: route.epoch }),
    );
    await claim(db, 'next');
    const { version } = await register(db, 'next', 2);
    moved(await move(db, { cycleId: 'next', next: canary(2, version), expectedEpoch: promoted.epoch }));
    const { route: after } = await rollback(db, 'c');
    expect(after).toMatchObject(canary(1, version));
    expect(await promoteCandidate(db, { cycleId: 'next', version, expectedEpoch: after.epoch })).toEqual({
      kind: 'championChanged',
      champion: 2,
      stable: 1,
    });
  });

  it('is not kept waiting by a worker that froze in the middle of a deploy', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    const frozen = openDatabase(test.url, { idleInTransactionTimeoutMs: 300 });
    const deploy = transaction(frozen, async (tx) => {
      await tx.query(`select from cycles where cycle_id = 'c' for update`);
      await rollback(db, 'c');
      await tx.query(`update cycles set trigger = 'committed late' where cycle_id = 'c'`);
    });
    await expect(deploy).rejects.toThrow();
    expect(await readCycle(db, 'c')).toMatchObject({ outcome: 'rolledBack', trigger: 'test' });
    await frozen.end();
  });
});

describe('operatorRollback', () => {
  const request = { line: LINE, who: 'op', why: 'complaints', alert: alert('op') };

  /** Stable version 3, with 1 and 2 before it. */
  async function threeVersions(): Promise<void> {
    await lineWithStable(test.db);
    for (const [cycleId, stable] of [
      ['second', 1],
      ['third', 2],
    ] as const) {
      await claim(test.db, cycleId);
      const { version } = await register(test.db, cycleId, stable);
      const { epoch } = await currentRoute(test.db, LINE);
      const route = moved(await move(test.db, { cycleId, next: canary(stable, version), expectedEpoch: epoch }));
      moved(await promoteCandidate(test.db, { cycleId, version, expectedEpoch: route.epoch }));
    }
  }

  it('goes back to the stable before, and further back each time', async () => {
    await threeVersions();
    const { db } = test;
    expect(await operatorRollback(db, request)).toMatchObject({ from: 3, to: 2, closedCycle: null, route: alone(2) });
    expect(await operatorRollback(db, request)).toMatchObject({ from: 2, to: 1 });
    expect(await statuses()).toEqual(['archived', 'stable', 'rolledBack', 'rolledBack']);
    expect(await operatorRollback(db, request)).toMatchObject({ from: 1, to: 0 });
    await expect(operatorRollback(db, request)).rejects.toThrow(
      /no earlier stable .* name one of those that were stable/,
    );
    expect(await operatorRollback(db, { ...request, toVersion: 3 })).toMatchObject({ from: 0, to: 3 });
    expect(await statuses()).toEqual(['archived', 'rolledBack', 'rolledBack', 'stable']);
  });

  it('goes back once for a repeated key', async () => {
    await threeVersions();
    const keyed = { ...request, effectKey: 'op/1' };
    const [one, two] = await Promise.all([operatorRollback(test.db, keyed), operatorRollback(test.db, keyed)]);
    expect(one).toEqual(two);
    expect((await currentRoute(test.db, LINE)).stable).toBe(2);
  });

  it('gives operators that act at the same moment an epoch each', async () => {
    await threeVersions();
    const before = await currentRoute(test.db, LINE);
    const targets = [1, 2, 3, 1, 2, 3, 1, 2];
    const results = await Promise.all(targets.map((toVersion) => operatorRollback(test.db, { ...request, toVersion })));
    const epochs = results.map(({ route }) => route.epoch).sort((a, b) => a - b);
    expect(epochs).toEqual(targets.map((_, index) => before.epoch + 1 + index));
    const last = results.find(({ route }) => route.epoch === epochs.at(-1));
    expect(await currentRoute(test.db, LINE)).toEqual(last?.route);
    expect((await statuses()).filter((status) => status === 'stable')).toHaveLength(1);
  });

  it('says in the alert what it did', async () => {
    await threeVersions();
    const { route } = await operatorRollback(test.db, request);
    const { rows } = await test.db.query(`select alert->'fields' as fields from outbox where dedup_key = 'op'`);
    expect(rows).toEqual([{ fields: { from: 3, to: 2, epoch: route.epoch } }]);
  });

  it.each(['canary', 'shadow'] as const)('removes a %s and keeps the stable', async (as) => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c', as });
    const result = await operatorRollback(db, request);
    expect(result).toMatchObject({ from: 1, to: 1, closedCycle: 'c', route: alone(1) });
    expect(await readCycle(db, 'c')).toMatchObject({ outcome: 'rolledBack', reasons: [{ code: 'operator.rollback' }] });
    expect(await countOf('leases')).toBe(0);
    expect(await statuses()).toEqual(['archived', 'stable', 'rolledBack']);
    expect(await rollback(db, 'c')).toEqual({ route: result.route, alreadyDone: true });
  });

  it('closes a cycle that has routed nothing yet as aborted, and goes back', async () => {
    const { db } = test;
    await lineWithStable(db);
    await claim(db, 'c');
    expect(await operatorRollback(db, request)).toMatchObject({ from: 1, to: 0, closedCycle: 'c' });
    expect((await readCycle(db, 'c')).outcome).toBe('aborted');
  });

  it('wins over the cycle, whose next write finds itself refused', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    await operatorRollback(db, { ...request, toVersion: 0 });
    const refused = { kind: 'cycleClosed', outcome: 'rolledBack' };
    expect(await move(db, { cycleId: 'c', next: canary(1, candidate, 0.5), expectedEpoch: route.epoch })).toEqual(
      refused,
    );
    const { epoch } = await currentRoute(db, LINE);
    expect(await move(db, { cycleId: 'c', next: canary(0, candidate), expectedEpoch: epoch })).toEqual(refused);
    expect(await promoteCandidate(db, { cycleId: 'c', version: candidate, expectedEpoch: epoch })).toEqual(refused);
    expect(await currentRoute(db, LINE)).toMatchObject(alone(0));
  });

  it('closes the cycle that claims the line at the same moment, or leaves it with the new stable', async () => {
    const { db } = test;
    await threeVersions();
    for (let round = 0; round < 10; round += 1) {
      const cycleId = `start-${String(round)}`;
      const toVersion = 1 + (round % 3);
      await Promise.all([claim(db, cycleId), operatorRollback(db, { ...request, toVersion })]);
      const cycle = await readCycle(db, cycleId);
      if (cycle.outcome === null) expect(cycle.stableAtStart).toBe(toVersion);
      else expect(cycle.outcome).toBe('aborted');
      await closeCycle(db, { cycleId, outcome: 'aborted', reasons: [] });
    }
    const history = await routeHistory(db, { line: LINE, limit: 1_000 });
    expect(history[0]?.epoch).toBe(history.length);
  });

  it('names the versions that can be returned to', async () => {
    const { db } = test;
    await applyLine(db, { config: lineConfig(), who: 'test' });
    await expect(operatorRollback(db, { ...request, toVersion: 4 })).rejects.toThrow(
      'version 4 of line "news-feed" never was stable: expected one of 0',
    );
  });
});
