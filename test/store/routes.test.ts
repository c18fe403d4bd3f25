import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeCycle } from '../../store/cycles.ts';
import { applyLine } from '../../store/lines.ts';
import { operatorRollback } from '../../store/rollbacks.ts';
import { currentRoute, promote, routeAt, routeHistory } from '../../store/routes.ts';
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
  moved,
  promoteCandidate,
  register,
} from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

describe('moveRoute', () => {
  it('lets exactly one of many movers that saw the same epoch through', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        move(db, {
          cycleId: 'c',
          next: canary(1, candidate, 0.2 + index / 100),
          expectedEpoch: route.epoch,
          effectKey: `mover-${String(index)}`,
        }),
      ),
    );
    const winners = results.filter((result) => result.kind === 'moved');
    expect(winners).toHaveLength(1);
    expect(results.filter((result) => result.kind === 'epochMoved')).toHaveLength(19);
    expect(await currentRoute(db, LINE)).toEqual(moved(winners[0] ?? { kind: 'leaseExpired' }));
  });

  it('keeps epochs without a gap and one stable, however many cycles and operators move at once', async () => {
    const { db } = test;
    const { candidate } = await lineWithCandidate(db, { cycleId: 'c' });
    const mover = async (name: number): Promise<void> => {
      for (let turn = 0; turn < 8; turn += 1) {
        const { epoch } = await currentRoute(db, LINE);
        const effectKey = `${String(name)}-${String(turn)}`;
        await move(db, { cycleId: 'c', next: canary(1, candidate, 0.3), expectedEpoch: epoch, effectKey });
      }
    };
    const operator = async (): Promise<void> => {
      await currentRoute(db, LINE);
      await operatorRollback(db, { line: LINE, toVersion: 0, who: 'op', why: 'bad', alert: alert('op') });
    };
    await Promise.all([...[1, 2, 3, 4, 5, 6].map(mover), operator(), operator()]);

    const history = await routeHistory(db, { line: LINE, limit: 1_000 });
    expect(history.map(({ epoch }) => epoch)).toEqual(history.map((_, index) => history.length - index));
    const head = await currentRoute(db, LINE);
    expect(head).toMatchObject({ epoch: history.length, stable: 0, canary: null });
    const stable = (await listVersions(db, LINE)).filter(({ status }) => status === 'stable');
    expect(stable.map(({ version }) => version)).toEqual([0]);
  });

  it('records who, why, salt and cycle, and the status of the candidate', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c', as: 'shadow' });
    expect(route).toMatchObject({
      shadow: 2,
      shadowShare: 1,
      canary: null,
      who: 'test',
      why: 'test',
      salt: 'c',
      cycleId: 'c',
    });
    const status = async (): Promise<unknown> => (await listVersions(db, LINE))[0]?.status;
    expect(await status()).toBe('shadow');
    const second = moved(await move(db, { cycleId: 'c', next: canary(1, candidate), expectedEpoch: route.epoch }));
    expect(second).toMatchObject({ epoch: route.epoch + 1, canary: 2, canaryShare: 0.1, holdback: 0.1, shadow: null });
    expect(await status()).toBe('canary');
    moved(await move(db, { cycleId: 'c', next: alone(1), expectedEpoch: second.epoch }));
    expect(await status()).toBe('candidate');
    const own = await routeHistory(db, { line: LINE, cycleId: 'c', limit: 2 });
    expect(own.map(({ epoch }) => epoch)).toEqual([second.epoch + 1, second.epoch]);
    const others = await routeHistory(db, { line: LINE });
    expect(await routeHistory(db, { line: LINE, cycleId: 'c' })).toEqual(
      others.filter(({ cycleId }) => cycleId === 'c'),
    );
  });

  it('returns the first result for a repeated key, also when both come at once and after later moves', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const request = {
      cycleId: 'c',
      next: canary(1, candidate, 0.5),
      expectedEpoch: route.epoch,
      effectKey: 'c/canary-2',
    };
    const [first, second] = await Promise.all([move(db, request), move(db, request)]);
    expect(first).toEqual(second);
    await closeCycle(db, { cycleId: 'c', outcome: 'aborted', reasons: [] });
    expect(await move(db, request)).toEqual(first);
    expect(await routeHistory(db, { line: LINE })).toHaveLength(moved(first).epoch + 1);
  });

  it('refuses a closed cycle and writes nothing', async () => {
    const { db } = test;
    const { candidate } = await lineWithCandidate(db, { cycleId: 'c' });
    await closeCycle(db, { cycleId: 'c', outcome: 'rejected', reasons: [] });
    const before = await currentRoute(db, LINE);
    expect(await move(db, { cycleId: 'c', next: canary(1, candidate), expectedEpoch: before.epoch })).toEqual({
      kind: 'cycleClosed',
      outcome: 'rejected',
    });
    expect(await currentRoute(db, LINE)).toEqual(before);
  });

  it('refuses when the stable is not the champion that was evaluated', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const next = canary(1, candidate);
    expect(await move(db, { cycleId: 'c', next, expectedEpoch: route.epoch, expectedStable: 7 })).toEqual({
      kind: 'championChanged',
      champion: 7,
      stable: 1,
    });
  });

  it.each([
    ['a stable of its own choice', alone(0), /would change the stable from version 1 to 0; use promote or a rollback/],
    ['a version that is not its candidate', canary(1, 9), /version 9 is not its candidate \(2\)/],
  ])('throws for %s', async (_name, next, message) => {
    const { db } = test;
    const { route } = await lineWithCandidate(db, { cycleId: 'c' });
    await expect(move(db, { cycleId: 'c', next, expectedEpoch: route.epoch })).rejects.toThrow(message);
  });

  it('throws for a canary without a lease, and for a cycle or line that does not exist', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const request = { cycleId: 'c', next: canary(1, candidate), expectedEpoch: route.epoch };
    await expect(move(db, { ...request, leaseMs: 0 })).rejects.toThrow(
      /needs a lease: expected leaseMs above 0, got 0/,
    );
    await expect(move(db, { ...request, cycleId: 'other' })).rejects.toThrow(/no cycle "other"/);
    await expect(move(db, { ...request, line: 'other' })).rejects.toThrow(/no model line "other": there are news-feed/);
  });
});

describe('promote', () => {
  it('makes the canary stable, closes the cycle, ends the lease and writes the alert together', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const promoted = moved(
      await promoteCandidate(db, { cycleId: 'c', version: candidate, expectedEpoch: route.epoch }),
    );
    expect(promoted).toMatchObject({ ...alone(2), epoch: route.epoch + 1, cycleId: 'c' });
    expect((await listVersions(db, LINE)).map(({ status }) => status)).toEqual(['stable', 'archived', 'archived']);
    const { rows } = await db.query(
      `select (select outcome from cycles where cycle_id = 'c'), (select count(*) from leases) as leases,
         (select count(*) from outbox where dedup_key = 'c/promoted') as alerts`,
    );
    expect(rows).toEqual([{ outcome: 'promoted', leases: 0, alerts: 1 }]);
    expect(await promoteCandidate(db, { cycleId: 'c', version: candidate, expectedEpoch: route.epoch })).toEqual({
      kind: 'moved',
      route: promoted,
    });
  });

  it('refuses an expired lease, an epoch that moved and a closed cycle', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const request = { cycleId: 'c', version: candidate, expectedEpoch: route.epoch };
    expect(await promoteCandidate(db, { ...request, expectedEpoch: route.epoch - 1 })).toMatchObject({
      kind: 'epochMoved',
      expected: route.epoch - 1,
      current: route,
    });
    await db.query(`update leases set expires_at = clock_timestamp()`);
    expect(await promoteCandidate(db, request)).toEqual({ kind: 'leaseExpired' });
    await closeCycle(db, { cycleId: 'c', outcome: 'aborted', reasons: [] });
    expect(await promoteCandidate(db, request)).toEqual({ kind: 'cycleClosed', outcome: 'aborted' });
    expect(await currentRoute(db, LINE)).toMatchObject({ stable: 1 });
  });

  it('refuses what is not the canary', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c', as: 'shadow' });
    const request = { cycleId: 'c', version: candidate, expectedEpoch: route.epoch };
    await expect(promoteCandidate(db, request)).rejects.toThrow(/can not promote version 2: there is no canary/);
    await expect(promoteCandidate(db, { ...request, version: 1 })).rejects.toThrow(/its candidate is version 2/);
  });

  it('skips the canary only for the first version of a line', async () => {
    const { db } = test;
    const first = await lineWithStable(db);
    expect(first).toMatchObject({ ...alone(1), epoch: 2 });
    await claim(db, 'second');
    const { version } = await register(db, 'second', 1);
    await expect(
      promote(db, {
        cycleId: 'second',
        version,
        expectedEpoch: first.epoch,
        who: 'test',
        why: 'in a hurry',
        effectKey: 'second/promote',
        alert: alert('second'),
        direct: true,
      }),
    ).rejects.toThrow(/only the first version of a line goes to stable directly, "news-feed" has version 1/);
  });
});

describe('route history', () => {
  it('answers what served at any time', async () => {
    const { db } = test;
    const { route } = await lineWithCandidate(db, { cycleId: 'c' });
    const history = await routeHistory(db, { line: LINE });
    expect(history.map(({ epoch }) => epoch)).toEqual([3, 2, 1]);
    expect(history.at(-1)).toMatchObject({ epoch: 1, stable: 0, salt: LINE });
    expect(await routeAt(db, { line: LINE, time: new Date(route.at.getTime() + 60_000) })).toEqual(route);
    // Times are shown in milliseconds: that of a route finds it.
    expect(await routeAt(db, { line: LINE, time: route.at })).toEqual(route);
    expect(await routeAt(db, { line: LINE, time: new Date('2020-01-01') })).toBeNull();
    await db.query(
      `insert into routes (line, epoch, stable, salt, who, why, at)
       select line, epoch + 1, 0, salt, who, why, at + interval '1 hour' from routes where epoch = 3`,
    );
    expect(await routeAt(db, { line: LINE, time: new Date(route.at.getTime() + 1_800_000) })).toEqual(route);
  });

  it.each([`update routes set why = 'nothing happened'`, 'delete from routes', 'truncate routes cascade'])(
    'is kept for ever: %s',
    async (statement) => {
      await applyLine(test.db, { config: lineConfig(), who: 'test' });
      await expect(test.db.query(statement)).rejects.toThrow(/rows of routes are kept for ever/);
      expect(await routeHistory(test.db, { line: LINE })).toHaveLength(1);
    },
  );

  it('can not name a shadow that is the stable, or shares above one', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const write = (columns: string): Promise<unknown> =>
      db.query(
        `insert into routes (line, epoch, stable, canary, canary_share, holdback, shadow, shadow_share, salt, cycle_id, who, why)
         values ($1, $2, 1, ${columns}, 's', 'c', 'test', 'test')`,
        [LINE, route.epoch + 1],
      );
    await expect(write('null, 0, 0, 1, 1')).rejects.toThrow(/check constraint/);
    await expect(write(`${String(candidate)}, 0.95, 0.1, null, 0`)).rejects.toThrow(/check constraint/);
  });
});
