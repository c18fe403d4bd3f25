import { MockActivityEnvironment } from '@temporalio/testing';
import type { Client } from '@temporalio/client';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { RolloutDependencies } from '../../activities/dependencies.ts';
import { confirmRoute, rollback } from '../../activities/rollback.ts';
import { createGatewayTarget } from '../../integrations/gateway-target.ts';
import type { ServingTarget } from '../../integrations/serving-target.ts';
import { leasedRoutes } from '../../store/leases.ts';
import { registerProcess, removeProcess, reportEpoch } from '../../store/processes.ts';
import type { Route } from '../../store/types.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { alone, LINE, lineWithCandidate, lineWithStable, move, moved, promoteCandidate } from '../store/stage.ts';
import { startKServe, type KServe } from './kserve/api-server.ts';
import { KServeTarget } from './kserve/target.ts';

const LEASE_MS = 60_000;
const uri = (version: number): string => `s3://models/${String(version)}`;
let database: TestDatabase;
beforeEach(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  await database.drop();
});

function dependencies(serving: ServingTarget): RolloutDependencies {
  return {
    ...{ db: database.db, logger: pino({ level: 'silent' }), uiUrl: null, codeVersion: 'test' },
    ...{ temporal: null as unknown as Client, serving, channels: [], prometheusUrl: null },
  };
}

const asked = (epoch: number) => ({ line: LINE, epoch, leaseMs: LEASE_MS });
const failedCheck = { who: 'the monitor', reasons: [{ code: 'health.logLoss', message: 'worse' }] };

/** Runs `confirmRoute` as a worker would; `waits` is what its heartbeats said. */
function confirming(deps: RolloutDependencies, input: { cycleId: string; epoch: number }) {
  const environment = new MockActivityEnvironment();
  const waits: unknown[] = [];
  environment.on('heartbeat', (details: unknown) => waits.push(details));
  const confirmed = environment.run(confirmRoute, deps, { ...input, line: LINE });
  return { waits, confirmed };
}

describe('the gateways', () => {
  test('have nothing to be told, and confirm when all of them have reported', async () => {
    const { route } = await lineWithCandidate(database.db, { cycleId: 'c1' });
    const target = createGatewayTarget(database.db);
    const processes = ['gateway-1', 'gateway-2'].map((processId) => ({ processId, line: LINE, boot: 'b' }));
    for (const process of processes) await registerProcess(database.db, process);
    const [first, second] = processes;
    if (first === undefined || second === undefined) throw new Error('expected two');
    await reportEpoch(database.db, { ...first, epoch: route.epoch });

    await target.apply(route);
    expect(await target.confirmation(asked(route.epoch))).toEqual({
      confirmed: false,
      waitingFor: [
        { name: 'gateway-2', note: expect.stringMatching(/^reported epoch 0, seen 0\.\d s ago$/) as string },
      ],
    });
    const { waits, confirmed } = confirming(dependencies(target), { cycleId: 'c1', epoch: route.epoch });
    await vi.waitFor(() => {
      expect(waits).toContainEqual([expect.objectContaining({ name: 'gateway-2' })]);
    });
    await removeProcess(database.db, second);
    await confirmed;
  });
});

describe('another server, KServe, through the same port', () => {
  let kserve: KServe;
  let target: KServeTarget;
  beforeEach(async () => {
    kserve = await startKServe({ namespace: 'models', name: LINE, storageUri: uri(1), version: 1 });
    target = new KServeTarget({ url: kserve.url, namespace: 'models', storageUri: uri });
  });
  afterEach(() => kserve.close());

  const isConfirmed = async (epoch: number) => (await target.confirmation(asked(epoch))).confirmed;

  /** A cycle's candidate at 10 %, without the holdback that KServe does not have. */
  async function canaryAt10(leaseMs = LEASE_MS): Promise<Route> {
    const before = await lineWithCandidate(database.db, { cycleId: 'c1', leaseMs });
    const next = { ...alone(1), canary: before.candidate, canaryShare: 0.1 };
    return moved(await move(database.db, { cycleId: 'c1', next, expectedEpoch: before.route.epoch }));
  }

  async function served(route: Route): Promise<void> {
    await target.apply(route);
    kserve.reconcile();
    expect(await target.confirmation(asked(route.epoch))).toEqual({ confirmed: true, waitingFor: [] });
  }

  test('a step is in force when the new revision is ready and has its share', async () => {
    const route = await canaryAt10();
    await target.apply(route);
    expect(await target.confirmation(asked(route.epoch))).toEqual({
      confirmed: false,
      waitingFor: [{ name: `inferenceservice/${LINE}`, note: 'has not made the new revision yet' }],
    });
    kserve.reconcile();
    expect(await isConfirmed(route.epoch)).toBe(true);
    expect(kserve.traffic()).toEqual({ [uri(1)]: 90, [uri(2)]: 10 });
    expect(await isConfirmed(route.epoch + 1)).toBe(false);
  });

  test('a rollback through the activities is confirmed when the traffic is back, although the canary never got ready', async () => {
    const route = await canaryAt10();
    await target.apply(route);
    kserve.reconcile({ ready: false });
    expect((await target.confirmation(asked(route.epoch))).waitingFor[0]?.note).toMatch(/00002 is not ready/);

    const deps = dependencies(target);
    const request = { cycleId: 'c1', line: LINE, version: 2, outcome: 'rolledBack' as const, ...failedCheck };
    const { epoch, stable } = await rollback(deps, request);
    expect(stable).toBe(1);
    const { waits, confirmed } = confirming(deps, { cycleId: 'c1', epoch });
    await vi.waitFor(() => {
      expect(waits.length).toBeGreaterThan(0);
    });
    kserve.reconcile();
    await confirmed;
    expect(kserve.traffic()).toEqual({ [uri(1)]: 100 });
  });

  test('a promotion keeps the revision and gives it all; an operator goes back by a new one', async () => {
    const route = await canaryAt10();
    await served(route);
    const next = { cycleId: 'c1', version: 2, expectedEpoch: route.epoch };
    const all = { ...alone(1), canary: 2, canaryShare: 1 };
    const ramped = moved(await move(database.db, { cycleId: 'c1', next: all, expectedEpoch: route.epoch }));
    await served(ramped);
    // What is rolled out stays known until it is decided.
    expect(kserve.traffic()).toEqual({ [uri(1)]: 1, [uri(2)]: 99 });
    const promoted = moved(await promoteCandidate(database.db, { ...next, expectedEpoch: ramped.epoch }));
    const settled = { ...promoted, holdback: 0 };
    await served(settled);
    expect(kserve.traffic()).toEqual({ [uri(2)]: 100 });

    const back = { ...settled, epoch: settled.epoch + 1, stable: 1 };
    await target.apply(back);
    // The status is that of before, and says 100 % as well.
    expect(await isConfirmed(back.epoch)).toBe(false);
    kserve.reconcile();
    expect(await isConfirmed(back.epoch)).toBe(true);
    expect(kserve.traffic()).toEqual({ [uri(1)]: 100 });
  });

  test('a route that comes late or twice changes nothing, and a write beside it is not lost', async () => {
    const route = await canaryAt10();
    kserve.interfere();
    await served(route);
    await served(route);
    const patches = kserve.patches();
    await target.apply({ ...route, epoch: route.epoch - 1, canary: null, canaryShare: 0 });
    expect(kserve.patches()).toBe(patches);
    expect(kserve.traffic()).toEqual({ [uri(1)]: 90, [uri(2)]: 10 });
  });

  test('what it can not do is said: a shadow, a holdback, half a percent, and an API that is gone', async () => {
    expect(target.capabilities).toEqual({ shadow: false, holdback: false });
    const route = await lineWithStable(database.db);
    await expect(target.apply({ ...route, shadow: 2, shadowShare: 1 })).rejects.toThrow('no shadow');
    await expect(target.apply({ ...route, canary: 2, canaryShare: 0.1, holdback: 0.1 })).rejects.toThrow('no holdback');
    await expect(target.apply({ ...route, canary: 2, canaryShare: 0.005 })).rejects.toThrow('whole percents');
    await kserve.close();
    await expect(target.confirmation(asked(route.epoch))).rejects.toThrow();
  });

  test('a lease keeper beside it ends a canary whose monitor is gone', async () => {
    const route = await canaryAt10();
    await served(route);
    await database.db.query(`update leases set expires_at = clock_timestamp() - interval '1 s'`);

    const [leased] = await leasedRoutes(database.db, [LINE]);
    if (leased === undefined) throw new Error('expected a route');
    const holds = leased.leaseMs !== null && leased.leaseMs > 0;
    await target.apply(holds ? leased.route : { ...leased.route, canary: null, canaryShare: 0 });
    kserve.reconcile();
    expect(kserve.traffic()).toEqual({ [uri(1)]: 100 });
  });
});
