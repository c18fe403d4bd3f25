import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { claimCycle, closeCycle, readCycle } from '../../store/cycles.ts';
import { readHealthLooks } from '../../store/health-looks.ts';
import { readArmSums } from '../../store/health-sums.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { currentRoute, routeHistory, settle, watchRefusal, type SettleRequest } from '../../store/routes.ts';
import type { Route, RouteState } from '../../store/types.ts';
import { versionHistory } from '../../store/version-history.ts';
import { listVersions } from '../../store/versions.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { inOrder } from './in-order.ts';
import {
  alert,
  alone,
  canary,
  claim,
  LINE,
  lineWithCandidate,
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

/** Version 2, promoted by cycle `c` over version 1, which has a tenth of the traffic. */
const WATCHED: RouteState = { ...alone(2), holdback: 0.1, holdbackVersion: 1 };

async function watched(): Promise<Route> {
  const { candidate: version, route } = await lineWithCandidate(test.db, { cycleId: 'c' });
  return moved(await promoteCandidate(test.db, { cycleId: 'c', version, expectedEpoch: route.epoch, holdback: 0.1 }));
}

function settleCycle(request: Pick<SettleRequest, 'expectedEpoch'> & Partial<SettleRequest>) {
  const reasons = [{ code: 'watch.passed', message: 'well' }];
  return settle(test.db, { cycleId: 'c', who: 'cycle c', why: 'over', reasons, effectKey: 'c/settle', ...request });
}

/** Of versions 0, 1, ... */
async function statuses(): Promise<string[]> {
  return (await listVersions(test.db, LINE)).map(({ status }) => status).reverse();
}

async function facts(): Promise<object> {
  const { rows } = await test.db.query<object>(
    `select outcome, (select count(*) from leases) as leases,
       (select array_agg(dedup_key order by id) from outbox where dedup_key like 'c/%') as alerts
     from cycles where cycle_id = 'c'`,
  );
  return rows[0] ?? {};
}

describe('promote with a holdback', () => {
  it('leaves the same users on the old stable and the cycle open, without a lease', async () => {
    const { db } = test;
    const route = await watched();
    expect(route).toMatchObject({ ...WATCHED, epoch: 4, salt: 'c', cycleId: 'c' });
    expect(await facts()).toEqual({ outcome: null, leases: 0, alerts: ['c/promoted'] });
    expect(await statuses()).toEqual(['archived', 'archived', 'stable']);
    const again = { cycleId: 'c', version: 2, expectedEpoch: 3, holdback: 0.1 };
    expect(await promoteCandidate(db, again)).toEqual({ kind: 'moved', route });
  });

  it('is not for a ramp to ask for', async () => {
    const { candidate, route } = await lineWithCandidate(test.db, { cycleId: 'c' });
    const next = { ...canary(1, candidate), holdbackVersion: 0 };
    await expect(move(test.db, { cycleId: 'c', next, expectedEpoch: route.epoch })).rejects.toThrow(
      /only a promotion gives the holdback a version of its own/,
    );
  });

  it.each([
    ['without a share', { holdback: 0 }],
    ['that is the stable', { holdback_version: 2 }],
    ['beside a canary', { canary: 0, canary_share: 0.1 }],
    ['that nobody knows', { holdback_version: 9 }],
  ])('never is a version %s', async (_, change) => {
    await watched();
    const row = JSON.stringify({ epoch: 5, ...change });
    const write = test.db.query(
      'insert into routes select (jsonb_populate_record(r, $1)).* from routes r where epoch = 4',
      [row],
    );
    await expect(write).rejects.toThrow(/violates (check|foreign key) constraint "routes_/);
  });

  it('says what the old stable had', async () => {
    await watched();
    const spans = async (version: number) =>
      (await versionHistory(test.db, { line: LINE, version })).routes.map(({ role, share }) => [role, share]);
    expect((await spans(1)).slice(-2)).toEqual([
      ['stable', 0.9],
      ['holdback', 0.1],
    ]);
    expect((await spans(2)).at(-1)).toEqual(['stable', 0.9]);
  });
});

describe('settle', () => {
  it('puts all traffic on the version and closes the cycle, once', async () => {
    const { epoch } = await watched();
    const route = moved(await settleCycle({ expectedEpoch: epoch }));
    expect(route).toMatchObject({ ...alone(2), epoch: epoch + 1, salt: 'c', cycleId: 'c', why: 'over' });
    expect(await facts()).toEqual({ outcome: 'promoted', leases: 0, alerts: ['c/promoted'] });
    expect((await readCycle(test.db, 'c')).reasons).toEqual([{ code: 'watch.passed', message: 'well' }]);
    expect(await settleCycle({ expectedEpoch: epoch })).toEqual({ kind: 'moved', route });
    expect(await currentRoute(test.db, LINE)).toEqual(route);
  });

  it('leaves the warning of a watch that stayed undecided with it', async () => {
    const { epoch } = await watched();
    moved(await settleCycle({ expectedEpoch: epoch, alert: alert('c/watchUndecided') }));
    expect(await facts()).toMatchObject({ alerts: ['c/promoted', 'c/watchUndecided'] });
  });

  it('is refused once the route moved or the cycle is closed, as the watch itself is', async () => {
    const { db } = test;
    const current = await watched();
    const { epoch } = current;
    expect(await watchRefusal(db, { cycleId: 'c', expectedEpoch: epoch })).toBeNull();
    const refusal = { kind: 'epochMoved', expected: 3, current };
    expect(await settleCycle({ expectedEpoch: 3 })).toEqual(refusal);
    expect(await watchRefusal(db, { cycleId: 'c', expectedEpoch: 3 })).toEqual(refusal);
    await rollback(db, 'c');
    const closed = { kind: 'cycleClosed', outcome: 'rolledBack' };
    expect(await settleCycle({ expectedEpoch: epoch })).toEqual(closed);
    expect(await watchRefusal(db, { cycleId: 'c', expectedEpoch: epoch })).toEqual(closed);
    expect(await currentRoute(db, LINE)).toMatchObject(alone(1));
  });

  it('has nothing to do where nothing was promoted', async () => {
    const { route } = await lineWithCandidate(test.db, { cycleId: 'c' });
    await expect(settleCycle({ expectedEpoch: route.epoch })).rejects.toThrow(
      /promoted nothing that could be settled: its candidate is version 2, stable is 1/,
    );
  });
});

describe('a rollback in the watch', () => {
  it('puts the old stable back, at a new epoch, and closes the cycle', async () => {
    const { epoch } = await watched();
    const { route } = await rollback(test.db, 'c');
    expect(route).toMatchObject({ ...alone(1), epoch: epoch + 1 });
    expect(await facts()).toMatchObject({ outcome: 'rolledBack', alerts: ['c/promoted', 'c/rolledBack'] });
    expect(await statuses()).toEqual(['archived', 'stable', 'rolledBack']);
  });

  it('wins over a settle that hangs, whichever commits first', async () => {
    for (const [first, second] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const { epoch } = await watched();
      const writers = [() => settleCycle({ expectedEpoch: epoch }), () => rollback(test.db, 'c')] as const;
      await inOrder<unknown>(test.db, 'c', [writers[first], writers[second]]);
      expect(await currentRoute(test.db, LINE)).toMatchObject(alone(1));
      expect((await readCycle(test.db, 'c')).outcome).toBe('rolledBack');
      await test.drop();
      test = await createTestDatabase();
    }
  });

  it('that comes late leaves the watch of the next version, without the one it takes back', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const { epoch } = moved(
      await promoteCandidate(db, { cycleId: 'c', version: candidate, expectedEpoch: route.epoch }),
    );
    await claim(db, 'next');
    const { version } = await register(db, 'next', 2);
    const ramp = moved(await move(db, { cycleId: 'next', next: canary(2, version), expectedEpoch: epoch }));
    moved(await promoteCandidate(db, { cycleId: 'next', version, expectedEpoch: ramp.epoch, holdback: 0.1 }));
    const { route: after } = await rollback(db, 'c');
    expect(after).toMatchObject(alone(version));
    expect(await statuses()).toEqual(['archived', 'archived', 'rolledBack', 'stable']);
  });
});

describe('an operator in the watch', () => {
  const request = { line: LINE, who: 'op', why: 'complaints', alert: alert('op') };

  it.each([
    // asked for, stable afterwards, the cycle's outcome, statuses
    [undefined, 1, 'rolledBack', ['archived', 'stable', 'rolledBack']],
    [1, 1, 'rolledBack', ['archived', 'stable', 'rolledBack']],
    [0, 0, 'rolledBack', ['stable', 'archived', 'rolledBack']],
    // The promoted version itself: it stays, and nobody watches it any more.
    [2, 2, 'aborted', ['archived', 'archived', 'stable']],
  ] as const)('who asks for %s gets version %i, and closes the cycle as %s', async (to, stable, outcome, expected) => {
    const { epoch } = await watched();
    const result = await operatorRollback(test.db, { ...request, ...(to !== undefined && { toVersion: to }) });
    expect(result).toMatchObject({
      from: 2,
      to: stable,
      closedCycle: 'c',
      route: { ...alone(stable), epoch: epoch + 1 },
    });
    expect((await readCycle(test.db, 'c')).outcome).toBe(outcome);
    expect(await statuses()).toEqual(expected);
    // The cycle is told, and leaves the route.
    expect((await rollback(test.db, 'c')).alreadyDone).toBe(true);
    expect((await currentRoute(test.db, LINE)).epoch).toBe(epoch + 1);
  });
});

describe('a run that died in its watch', () => {
  const takeOver = () =>
    claimCycle(test.db, {
      ...{ line: LINE, cycleId: 'next', workflowId: 'w', runId: 'r', trigger: 'test' },
      isRunOver: () => Promise.resolve(true),
    });

  it('leaves its version promoted: the next claim removes the holdback and says so', async () => {
    const { epoch } = await watched();
    expect(await takeOver()).toMatchObject({ kind: 'claimed', takenOver: 'c', cycle: { stableAtStart: 2, parent: 2 } });
    expect(await currentRoute(test.db, LINE)).toMatchObject({ ...alone(2), epoch: epoch + 1, who: 'cycle next' });
    const { outcome, reasons } = await readCycle(test.db, 'c');
    expect([outcome, ...reasons.map(({ code }) => code)]).toEqual(['promoted', 'watch.interrupted', 'cycle.takenOver']);
    expect(await statuses()).toEqual(['archived', 'archived', 'stable']);
    expect(await facts()).toMatchObject({ alerts: ['c/promoted', 'c/takenOver'] });
    expect(await settleCycle({ expectedEpoch: epoch })).toEqual({ kind: 'cycleClosed', outcome: 'promoted' });
  });

  it('keeps the version as well when its cycle is closed in another way', async () => {
    await watched();
    await closeCycle(test.db, { cycleId: 'c', outcome: 'aborted', reasons: [] });
    expect(await currentRoute(test.db, LINE)).toMatchObject(alone(2));
    expect(await routeHistory(test.db, { line: LINE })).toHaveLength(5);
    expect(await statuses()).toEqual(['archived', 'archived', 'stable']);
  });
});

it('what is compared in a watch: the promoted version, and the old one in the holdback', async () => {
  const { epoch } = await watched();
  const fromMs = 1_700_000_000_000;
  const counted: [version: number, arm: string, epoch: number, requests: number][] = [
    [2, 'stable', epoch, 1],
    // An answer of the ramp that was late.
    [2, 'canary', epoch, 2],
    [1, 'holdback', epoch, 4],
    [1, 'stable', epoch, 8],
    // What the promoted version answered for the old one, which failed; and the input's order for either.
    [2, 'holdback', epoch, 16],
    [0, 'stable', epoch, 32],
    [0, 'holdback', epoch, 64],
    [2, 'exploration', epoch, 128],
    [2, 'canary', epoch - 1, 256],
    [1, 'holdback', epoch - 1, 512],
  ];
  for (const [version, arm, at, requests] of counted)
    await test.db.query(
      `insert into health_sums (line, process_id, boot, bucket_at, version, arm, epoch, requests)
       values ($1, 'p', 'b', to_timestamp($2::float8 / 1000), $3, $4, $5, $6)`,
      [LINE, fromMs, version, arm, at, requests],
    );
  const range = { line: LINE, version: 2, sinceEpoch: epoch, fromMs, toMs: fromMs + 10_000, bucketMs: 10_000 };
  const { canary: candidate, stable: control } = await readArmSums(test.db, range);
  expect([candidate.requests, control.requests]).toEqual([1 + 2, 4 + 8]);
  const looks = await readHealthLooks(test.db, { ...range, slowFrom: 0 });
  expect(looks.map((look) => [look.canary.requests, look.stable.requests])).toEqual([[1 + 2, 4 + 8]]);
});
