import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadFeatureHash } from '../../features/feature-id.ts';
import { impressionKeyOf } from '../../serving/tokens.ts';
import { nth } from './nth.ts';
import { LINE, rankRequest, until, World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  await world.close();
});

test('a new line keeps the input order, with falling scores and one impression id an item', async () => {
  const gateway = await world.gateway();
  const answer = await gateway.rank('u1', [3, 1, 2]);
  expect(answer).toMatchObject({ version: 0, arm: 'stable', epoch: 1 });
  expect(answer.items.map(({ id, position }) => [id, position])).toEqual([
    ['item-0', 0],
    ['item-1', 1],
    ['item-2', 2],
  ]);
  const scores = answer.items.map(({ score }) => score);
  expect(scores).toEqual(scores.toSorted((a, b) => b - a));
  expect(new Set(answer.items.map(({ impressionId }) => impressionId)).size).toBe(3);
});

test('the stable version ranks by its scores, best first, and equal scores keep the input order', async () => {
  const version = await world.firstStable('rising');
  const gateway = await world.gateway();
  const answer = await gateway.rank('u1', [0.5, 2, null, 1], {
    candidates: [0.5, 2, 0.5, 1].map((quality, index) => ({ id: `item-${String(index)}`, features: { quality } })),
  });
  expect(answer).toMatchObject({ version, arm: 'stable', epoch: 2 });
  expect(answer.items.map(({ id }) => id)).toEqual(['item-1', 'item-3', 'item-0', 'item-2']);
  expect(answer.items[0]?.score).toBeCloseTo(1 / (1 + Math.exp(-2)), 5);
  const limited = await gateway.rank('u1', [1, 3, 2], { limit: 2 });
  expect(limited.items.map(({ id }) => id)).toEqual(['item-1', 'item-2']);
});

test('the served slate is logged with the numbers that were fed, and counted', async () => {
  const version = await world.firstStable('rising');
  await world.applyLine({
    features: [
      { kind: 'categorical', name: 'author', buckets: 5, dim: 1 },
      { kind: 'numeric', name: 'quality' },
      { kind: 'numeric', name: 'later', from: 'context' },
    ],
  });
  const gateway = await world.gateway();
  const answer = await gateway.rank('u1', [0.1, 2, 3], { context: { later: '7' }, limit: 2 });
  await gateway.close();

  const hash = await loadFeatureHash();
  const logged = await world.impressions();
  expect(logged.map(({ impressionId }) => impressionId)).toEqual(
    answer.items.map(({ position }) => impressionKeyOf(answer.token, position)),
  );
  expect(logged[1]).toMatchObject({
    ...{ requestId: answer.requestId, line: LINE, userId: 'u1', itemId: 'item-1', position: 1, version },
    ...{ arm: 'stable', propensity: 1, score: answer.items[1]?.score },
    // `later` is in the line's config and not among the version's features: the next version will find it.
    features: { author: String(hash('author-1')), quality: 2, later: 7 },
  });
  const scores = answer.items.map(({ score }) => score);
  const { [`${String(version)} stable`]: sums } = await world.sums();
  expect(sums).toMatchObject({ requests: 1, errors: 0, impressions: 2, clicks: 0 });
  expect(sums?.scoreSum).toBeCloseTo(nth(scores, 0) + nth(scores, 1), 6);
  expect(sums?.logLossSum).toBeCloseTo(-Math.log(1 - nth(scores, 0)) - Math.log(1 - nth(scores, 1)), 6);
});

test('an explored request is shuffled by its id, answered by stable, and its propensity logged', async () => {
  const version = await world.firstStable('rising');
  await world.applyLine({ exploration: { share: 0.2 } });
  const gateway = await world.gateway();
  const orders = new Set<string>();
  let explored = 0;
  for (let index = 0; index < 150; index++) {
    const requestId = `request-${String(index)}`;
    const answer = await gateway.rank('u1', [5, 4, 3, 2], { requestId });
    if (answer.arm !== 'exploration') continue;
    explored += 1;
    expect(answer.version).toBe(version);
    const order = answer.items.map(({ id }) => id).join();
    orders.add(order);
    const again = await gateway.rank('u1', [5, 4, 3, 2], { requestId });
    expect(again.items.map(({ id }) => id).join()).toBe(order);
  }
  expect(explored).toBeGreaterThan(10);
  expect(explored).toBeLessThan(60);
  expect(orders.size).toBeGreaterThan(5);
  await gateway.close();
  const propensities = (await world.impressions()).map(({ arm, propensity }) => `${arm} ${String(propensity)}`);
  expect(new Set(propensities)).toEqual(new Set(['stable 1', 'exploration 0.25']));
});

test('a stable version that fails keeps the input order, as version 0, and is counted', async () => {
  const version = await world.firstStable('nan');
  const gateway = await world.gateway();
  const answer = await gateway.rank('u1', [1, 2]);
  expect(answer).toMatchObject({ version: 0, arm: 'stable', epoch: 2 });
  expect(answer.items.map(({ id }) => id)).toEqual(['item-0', 'item-1']);
  await gateway.close();
  const sums = await world.sums();
  expect(sums[`${String(version)} stable`]).toMatchObject({ requests: 1, errors: 1, impressions: 0 });
  expect(sums['0 stable']).toMatchObject({ requests: 1, errors: 0, impressions: 2 });
});

test('a line that is applied while the gateway runs is served without a restart', async () => {
  const gateway = await world.gateway();
  await world.applyLine({ line: 'late' });
  await until(async () => {
    const { status } = await gateway.post('/v1/rank', { ...rankRequest('u1', [1]), line: 'late' });
    expect(status).toBe(200);
  });
});

test('/v1/route and /metrics tell what is served', async () => {
  const version = await world.firstStable('rising');
  const gateway = await world.gateway();
  await gateway.rank('u1');
  expect((await gateway.get(`/v1/route?line=${LINE}`)).body).toMatchObject({
    ...{ line: LINE, epoch: 2, stable: version, canary: null, reportedEpoch: 2, source: 'postgres', leaseMsLeft: 0 },
  });
  expect(await gateway.get('/readyz')).toMatchObject({ status: 200, body: { status: 'ready' } });
  expect(await gateway.get('/healthz')).toMatchObject({ status: 200 });
  const metrics = await gateway.text('/metrics');
  expect(metrics).toContain(
    `freshet_rank_requests_total{line="feed",version="${String(version)}",arm="stable",outcome="ok"} 1`,
  );
  expect(metrics).toContain('freshet_route_epoch{line="feed"} 2');
  expect(metrics).not.toContain('u1');
});
