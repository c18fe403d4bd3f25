import { afterEach, beforeEach, expect, test } from 'vitest';
import { until, World } from './world.ts';

let world: World;
let stable: number;
beforeEach(async () => {
  world = await World.create();
  stable = await world.firstStable('rising');
});
afterEach(async () => {
  await world.close();
});

test('a shadow scores copies of the requests, unseen, and its difference to stable is summed by candidate', async () => {
  const gateway = await world.gateway();
  const shadow = await world.candidate('falling');
  await world.untilReported(await world.move(shadow, { shadow: shadow.version, shadowShare: 1 }));
  for (let index = 0; index < 10; index++) {
    expect(await gateway.rank(`u${String(index)}`, [1, 2])).toMatchObject({ version: stable, arm: 'stable' });
  }
  await until(async () => {
    const sums = (await world.sums())[`${String(shadow.version)} shadow`];
    expect(sums).toMatchObject({ requests: 10, errors: 0, impressions: 20, dropped: 0 });
    const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
    const expected = 10 * (sigmoid(-1) - sigmoid(1) + sigmoid(-2) - sigmoid(2));
    // The model adds up to 0.004 to the log-odds by author, to both sides alike.
    expect(sums?.scoreDifferenceSum).toBeCloseTo(expected, 1);
  });
  await gateway.close();
  const logged = await world.impressions();
  expect(logged).toHaveLength(20);
  expect(new Set(logged.map(({ version }) => version))).toEqual(new Set([stable]));
});

test('a shadow share copies that share of the requests', async () => {
  const gateway = await world.gateway();
  const shadow = await world.candidate('falling');
  await world.untilReported(await world.move(shadow, { shadow: shadow.version, shadowShare: 0.3 }));
  for (let index = 0; index < 60; index++) await gateway.rank('u1', [1], { requestId: `request-${String(index)}` });
  await gateway.close();
  const { requests = 0 } = (await world.sums())[`${String(shadow.version)} shadow`] ?? {};
  expect(requests).toBeGreaterThan(5);
  expect(requests).toBeLessThan(35);
});

test('a shadow that hangs delays no answer; what it can not take is dropped and counted', async () => {
  const gateway = await world.gateway();
  const shadow = await world.candidate('slow');
  await world.untilReported(await world.move(shadow, { shadow: shadow.version, shadowShare: 1 }));
  // The first copy keeps the shadow busy for seconds; 64 wait behind it.
  const slow = 2_000_000;
  await gateway.rank('u1', [slow]);
  for (let index = 0; index < 80; index++) {
    expect(await gateway.rank('u1', [1])).toMatchObject({ version: stable });
  }
  // All 81 answers came while the copy of the first was still being scored: it is not counted yet.
  const metrics = await gateway.text('/metrics');
  const dropped = Number(/freshet_shadow_dropped_total\{.*\} (\d+)/.exec(metrics)?.[1] ?? 0);
  expect(dropped).toBeGreaterThan(0);
  await until(async () => {
    const sums = (await world.sums())[`${String(shadow.version)} shadow`];
    expect(sums).toMatchObject({ dropped, requests: 81 - dropped });
  });
});

test('a shadow that fails is counted, and shown to nobody', async () => {
  const gateway = await world.gateway();
  const shadow = await world.candidate('nan');
  await world.untilReported(await world.move(shadow, { shadow: shadow.version, shadowShare: 1 }));
  expect(await gateway.rank('u1')).toMatchObject({ version: stable, arm: 'stable' });
  await until(async () => {
    expect((await world.sums())[`${String(shadow.version)} shadow`]).toMatchObject({ requests: 1, errors: 1 });
  });
});

test('a shadow without a lease is given no copy', async () => {
  const gateway = await world.gateway();
  const shadow = await world.candidate('falling');
  await world.untilReported(await world.move(shadow, { shadow: shadow.version, shadowShare: 1 }));
  await world.setLease(0);
  await until(async () => {
    expect((await gateway.get('/v1/route?line=feed')).body).toMatchObject({ leaseMsLeft: 0 });
  });
  await gateway.rank('u1');
  await gateway.close();
  expect(Object.keys(await world.sums())).toEqual([`${String(stable)} stable`]);
});
