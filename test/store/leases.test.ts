import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeCycle } from '../../store/cycles.ts';
import { databaseNow, leasedRoutes, renewLease } from '../../store/leases.ts';
import { applyLine } from '../../store/lines.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import {
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
  register,
  rollback,
} from './stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
});
afterEach(() => test.drop());

async function expiresAt(): Promise<Date | undefined> {
  const { rows } = await test.db.query<{ at: Date }>('select expires_at as at from leases');
  return rows[0]?.at;
}

async function expire(): Promise<void> {
  await test.db.query(`update leases set expires_at = clock_timestamp()`);
}

describe('renewLease', () => {
  it('counts from the start of the check, by the clock of the database', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    const startedAt = await databaseNow(db);
    const result = await renewLease(db, { cycleId: 'c', startedAt, leaseMs: 100_000 });
    expect(result).toEqual({ kind: 'renewed', expiresAt: new Date(startedAt.getTime() + 100_000) });
    expect(await expiresAt()).toEqual(new Date(startedAt.getTime() + 100_000));
  });

  it('never shortens a lease, and never counts from a time that has not come', async () => {
    const { db } = test;
    await lineWithCandidate(db, { cycleId: 'c' });
    const granted = await expiresAt();
    expect(await renewLease(db, { cycleId: 'c', startedAt: new Date(0), leaseMs: 1 })).toEqual({
      kind: 'renewed',
      expiresAt: granted,
    });
    const ahead = new Date(Date.now() + 86_400_000);
    await renewLease(db, { cycleId: 'c', startedAt: ahead, leaseMs: LEASE_MS });
    expect((await expiresAt())?.getTime()).toBeLessThan(ahead.getTime());
  });

  it('does not bring back a lease that ran out, whatever it is asked', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    await expire();
    const startedAt = await databaseNow(db);
    expect(await renewLease(db, { cycleId: 'c', startedAt, leaseMs: LEASE_MS })).toEqual({ kind: 'leaseExpired' });
    const next = canary(1, candidate, 0.5);
    expect(await move(db, { cycleId: 'c', next, expectedEpoch: route.epoch })).toEqual({ kind: 'leaseExpired' });
    const without = moved(
      await move(db, { cycleId: 'c', next: alone(1), expectedEpoch: route.epoch, effectKey: 'out' }),
    );
    expect(await move(db, { cycleId: 'c', next, expectedEpoch: without.epoch })).toEqual({ kind: 'leaseExpired' });
    expect(await renewLease(db, { cycleId: 'c', startedAt, leaseMs: LEASE_MS })).toEqual({ kind: 'leaseExpired' });
  });

  it('refuses a closed cycle and one without a lease', async () => {
    const { db } = test;
    await lineWithStable(db);
    await claim(db, 'c');
    const renewal = { cycleId: 'c', startedAt: await databaseNow(db), leaseMs: LEASE_MS };
    expect(await renewLease(db, renewal)).toEqual({ kind: 'leaseExpired' });
    await closeCycle(db, { cycleId: 'c', outcome: 'aborted', reasons: [] });
    expect(await renewLease(db, renewal)).toEqual({ kind: 'cycleClosed', outcome: 'aborted' });
  });

  it('refuses once the stable is not the champion any more', async () => {
    const { db } = test;
    const { epoch } = await lineWithStable(db);
    await claim(db, 'c');
    const { version } = await register(db, 'c', 1);
    moved(await move(db, { cycleId: 'c', next: canary(1, version), expectedEpoch: epoch }));
    await rollback(db, 'cold');
    expect(await renewLease(db, { cycleId: 'c', startedAt: new Date(), leaseMs: LEASE_MS })).toEqual({
      kind: 'championChanged',
      champion: 1,
      stable: 0,
    });
  });
});

describe('the lease of a move', () => {
  it('is granted by the first and extended by none', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c', as: 'shadow' });
    const granted = await expiresAt();
    expect(granted?.getTime()).toBeGreaterThan(Date.now());
    const next = canary(1, candidate);
    moved(await move(db, { cycleId: 'c', next, expectedEpoch: route.epoch, leaseMs: LEASE_MS * 10 }));
    expect(await expiresAt()).toEqual(granted);
  });

  it('is given back when the candidate leaves the route, and granted anew', async () => {
    const { db } = test;
    const { candidate, route } = await lineWithCandidate(db, { cycleId: 'c' });
    const without = moved(await move(db, { cycleId: 'c', next: alone(1), expectedEpoch: route.epoch }));
    expect(await expiresAt()).toBeUndefined();
    moved(await move(db, { cycleId: 'c', next: canary(1, candidate), expectedEpoch: without.epoch }));
    expect(await expiresAt()).toBeDefined();
  });
});

describe('leasedRoutes', () => {
  it('reads routes with what is left of their leases, of all lines or of some', async () => {
    const { db } = test;
    const { route } = await lineWithCandidate(db, { cycleId: 'c' });
    await applyLine(db, { config: lineConfig({ line: 'other' }), who: 'test' });
    const all = await leasedRoutes(db);
    expect(all.map((leased) => leased.route.line)).toEqual([LINE, 'other']);
    expect(all[0]?.route).toEqual(route);
    expect(all[0]?.leaseMs).toBeGreaterThan(0);
    expect(all[0]?.leaseMs).toBeLessThanOrEqual(LEASE_MS);
    expect(all[1]?.leaseMs).toBeNull();
    expect(await leasedRoutes(db, ['other'])).toHaveLength(1);
    expect(await leasedRoutes(db, [])).toEqual([]);
    await expire();
    expect((await leasedRoutes(db, [LINE]))[0]?.leaseMs).toBeLessThanOrEqual(0);
  });
});
