import { afterEach, beforeEach, expect, test } from 'vitest';
import { judgeShadow, type ShadowReading } from '../../policy/shadow.ts';
import { readShadowSums } from '../../store/shadow-sums.ts';
import { lineConfig } from '../policy/line-config.ts';
import { LINE, until, World, type Candidate } from './world.ts';

let world: World;
let stable: number;
beforeEach(async () => {
  world = await World.create();
  stable = await world.firstStable('rising');
});
afterEach(async () => {
  await world.close();
});

/** Routes a model as the shadow and returns how to read what it showed. */
async function shadowed(model: Parameters<World['candidate']>[0], share = 1) {
  const shadow: Candidate = await world.candidate(model);
  const route = await world.move(shadow, { shadow: shadow.version, shadowShare: share });
  const read = (): Promise<ShadowReading> =>
    readShadowSums(world.database.db, { line: LINE, version: shadow.version, sinceEpoch: route.epoch });
  return { ...shadow, route, read };
}

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

test.each([
  ['throws', 'throwing', { errors: 40, notNumbers: 0 }],
  ['answers NaN', 'nan', { errors: 0, notNumbers: 40 }],
] as const)('a shadow that %s is counted, and shown to nobody', async (_, model, expected) => {
  const gateway = await world.gateway();
  const shadow = await shadowed(model);
  await world.untilReported(shadow.route);
  for (let index = 0; index < 40; index++)
    expect(await gateway.rank(`u${String(index)}`)).toMatchObject({ version: stable, arm: 'stable' });
  await until(async () => {
    expect(await shadow.read()).toMatchObject({ requests: 40, ...expected, rankings: 0 });
  });
  const verdict = judgeShadow({ reading: await shadow.read(), config: lineConfig().shadow, silenced: true });
  expect(verdict.status).toBe('diverged');
});

test('rankings are compared at what is shown: the slate, or the k of the evaluation', async () => {
  await world.applyLine({ evaluation: { k: 3 } });
  const gateway = await world.gateway();
  const shadow = await shadowed('falling');
  await world.untilReported(shadow.route);
  // Of four, both show the two in the middle of three; of two shown they share none; one alone is no ranking.
  await gateway.rank('u1', [1, 2, 3, 4]);
  await until(async () => {
    const { rankings, overlapMean, tauMean } = await shadow.read();
    expect([rankings, overlapMean, tauMean]).toEqual([1, 2 / 3, -1]);
  });
  await gateway.rank('u1', [1, 2, 3, 4], { limit: 2 });
  await until(async () => {
    const { rankings, overlapMean, tauMean } = await shadow.read();
    expect(rankings).toBe(2);
    expect(overlapMean).toBeCloseTo(1 / 3, 12);
    expect(tauMean).toBeCloseTo((-1 - 4 / 5) / 2, 12);
  });
  const scraped = await gateway.text('/metrics');
  const gauge = (name: string): number =>
    Number(
      new RegExp(`freshet_shadow_${name}\\{line="feed",version="${String(shadow.version)}"\\} (\\S+)`).exec(
        scraped,
      )?.[1],
    );
  expect(gauge('rank_agreement')).toBeCloseTo(-0.9, 12);
  expect(gauge('rank_overlap')).toBeCloseTo(1 / 3, 12);
  expect(gauge('score_difference')).toBeLessThan(-0.5);
  expect(gauge('nan_share')).toBe(0);
  await gateway.rank('u1', [1]);
  await until(async () => {
    expect(await shadow.read()).toMatchObject({ requests: 3, rankings: 2 });
  });
});

test('candidates with one score rank in the order of the request, by shadow as by stable', async () => {
  const gateway = await world.gateway();
  const same = await shadowed('rising');
  await world.untilReported(same.route);
  const author = { author: 'one' };
  const candidates = [3, 1, 1, 2].map((quality, index) => {
    return { id: `item-${String(index)}`, features: { quality, ...author } };
  });
  await gateway.rank('u1', [], { candidates });
  await until(async () => {
    expect(await same.read()).toMatchObject({ rankings: 1, overlapMean: 1, tauMean: 1 });
  });
});

test('every gateway adds to what is read, and each copy that is due is accounted for', async () => {
  const gateways = [await world.gateway(), await world.gateway({ processId: 'gateway-2' })];
  const shadow = await shadowed('falling', 0.5);
  for (const processId of ['gateway-1', 'gateway-2']) await world.untilReported(shadow.route, processId);
  for (let index = 0; index < 300; index++) await gateways[index % 2]?.rank(`u${String(index)}`, [1, 2, 3]);
  await until(async () => {
    const { mirror, requests } = await shadow.read();
    expect(mirror).toMatchObject({ answered: 300, share: 0.5, unsettled: 0, gateways: 2 });
    expect(mirror.copies).toBe(requests);
  });
  const reading = await shadow.read();
  const { requests, stableScoreBins, scoreBins } = reading;
  const total = (bins: readonly number[]): number => bins.reduce((sum, scores) => sum + scores, 0);
  expect([total(stableScoreBins), total(scoreBins)]).toEqual([3 * requests, 3 * requests]);
  // All of stable's scores are above a half, and all of the shadow's below.
  expect([total(stableScoreBins.slice(33)), total(scoreBins.slice(0, 33))]).toEqual([3 * requests, 3 * requests]);
  // On a busy machine a shadow may take its time: its threads give way to others.
  const config = { ...lineConfig().shadow, maxLatencyRatio: Infinity };
  const { status, reasons } = judgeShadow({ reading, config, silenced: false });
  expect([status, reasons.map(({ code }) => code)]).toEqual([
    'diverged',
    ['shadow.score-shift', 'shadow.score-distribution', 'shadow.rank-agreement'],
  ]);
});

test('whenever it is read, as many copies were due as stable answered', async () => {
  const gateway = await world.gateway({ flushEveryMs: 5 });
  const shadow = await shadowed('falling');
  await world.untilReported(shadow.route);
  let answered = 0;
  const traffic = Array.from({ length: 8 }, async (_, user) => {
    for (let index = 0; index < 25; index++, answered++) await gateway.rank(`u${String(user)}`, [1, 2]);
  });
  const reads: ShadowReading[] = [];
  while (answered < 200) reads.push(await shadow.read());
  await Promise.all(traffic);
  expect(reads.length).toBeGreaterThan(1);
  for (const { mirror } of reads) {
    expect(mirror.copies).toBe(mirror.answered);
    expect(mirror.unsettled).toBeGreaterThanOrEqual(0);
    expect(mirror.unsettled).toBeLessThanOrEqual(64);
  }
});

test('a shadow without a lease is given no copy: those that were due are given up', async () => {
  const gateway = await world.gateway();
  const shadow = await shadowed('falling');
  await world.untilReported(shadow.route);
  await world.setLease(0);
  await until(async () => {
    expect((await gateway.get('/v1/route?line=feed')).body).toMatchObject({ leaseMsLeft: 0 });
  });
  await gateway.rank('u1');
  await gateway.close();
  const mirror = { answered: 1, share: 1, copies: 1, unsettled: 0, gateways: 1 };
  expect(await shadow.read()).toMatchObject({ requests: 0, dropped: 1, mirror });
});
