import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTokens, impressionKeyOf, type AnswerToken } from '../../serving/tokens.ts';
import { setEventClock } from '../../store/event-clock.ts';
import { nth } from './nth.ts';
import { KEY, LINE, World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  await world.close();
});

const HOUR_MS = 3_600_000;

function tokenOf(change: Partial<AnswerToken> = {}): AnswerToken {
  const now = Date.now();
  const answered = { answeredAtMs: now, eventTimeMs: now, scores: [0.25, 0.125] };
  return { line: LINE, requestId: 'r', version: 7, arm: 'canary', epoch: 3, ...answered, ...change };
}

test('a click finds its version and arm on any gateway, in the bucket of its impression', async () => {
  const one = await world.gateway();
  const two = await world.gateway({ processId: 'gateway-2' });
  const answer = await one.rank('u1', [1, 2]);
  const clicked = nth(answer.items, 1);
  expect(await two.click(clicked.impressionId)).toEqual({ accepted: 1, duplicates: 0, refused: [] });
  await Promise.all([one.close(), two.close()]);

  const sums = (await world.sums())['0 stable'];
  expect(sums).toMatchObject({ requests: 1, impressions: 2, clicks: 1 });
  const losses = answer.items.map(({ score }) => -Math.log(1 - score));
  const clickedLoss = -Math.log(clicked.score);
  expect(sums?.logLossSum).toBeCloseTo(nth(losses, 0) + clickedLoss, 3);
  expect(sums?.logLossSquareSum).toBeCloseTo(nth(losses, 0) ** 2 + clickedLoss ** 2, 3);
  const { rows } = await world.database.db.query('select distinct bucket_at from health_sums');
  expect(rows).toHaveLength(1);
  expect(await world.feedback()).toMatchObject([
    { impressionId: impressionKeyOf(answer.token, 1), line: LINE, event: 'click', value: null },
  ]);
});

test('a repeated click is counted once', async () => {
  const gateway = await world.gateway();
  const { items } = await gateway.rank('u1');
  const { impressionId } = nth(items, 0);
  expect(await gateway.click(impressionId, impressionId)).toMatchObject({ accepted: 1, duplicates: 1 });
  expect(await gateway.click(impressionId)).toMatchObject({ accepted: 0, duplicates: 1 });
  await gateway.close();
  expect((await world.sums())['0 stable']).toMatchObject({ clicks: 1 });
});

test('forged, changed, expired and foreign ids are refused one by one, and the others are taken', async () => {
  const gateway = await world.gateway();
  const genuine = createTokens([KEY]);
  const forged = createTokens([{ ...KEY, secret: randomBytes(32) }]).sign(tokenOf());
  const foreignKey = createTokens([{ id: 'other', secret: randomBytes(32) }]).sign(tokenOf());
  const [header = '', , signature = ''] = genuine.sign(tokenOf()).split('.');
  const [, better = ''] = genuine.sign(tokenOf({ scores: [0.9, 0.9] })).split('.');
  const old = Date.now() - 49 * HOUR_MS;
  const ids = {
    [`${genuine.sign(tokenOf())}.1`]: null,
    [`${forged}.0`]: /signature does not match/,
    [`${foreignKey}.0`]: /key that is not, or no longer, accepted/,
    [`${header}.${better}.${signature}.0`]: /signature does not match/,
    [`${genuine.sign(tokenOf({ eventTimeMs: old, answeredAtMs: old }))}.0`]:
      /expired: the impression is 49\.0 h old, feedback is taken for 48\.0 h/,
    [`${genuine.sign(tokenOf({ line: 'other' }))}.0`]: /line "other" is not served here/,
    [`${genuine.sign(tokenOf())}.2`]: /the answer had 2 items, none at position 2/,
    'not-an-id': /not an impression id/,
    'e30.AA.AA.0': /not an impression id/,
  };
  const answer = await gateway.click(...Object.keys(ids));
  expect(answer).toMatchObject({ accepted: 1, duplicates: 0 });
  const expected = Object.entries(ids).filter(([, reason]) => reason !== null);
  expect(answer.refused).toEqual(
    expected.map(([impressionId, reason]) => ({
      impressionId,
      reason: expect.stringMatching(reason as RegExp) as string,
    })),
  );
  await gateway.close();
  expect(await world.feedback()).toHaveLength(1);
  expect((await world.sums())['7 canary']).toMatchObject({ clicks: 1, requests: 0 });
});

test('a key that was replaced is accepted while it is listed', async () => {
  const next = { id: 'k2', secret: randomBytes(32) };
  const gateway = await world.gateway({ keys: [next, KEY] });
  expect(await gateway.click(`${createTokens([KEY]).sign(tokenOf())}.0`)).toMatchObject({ accepted: 1 });
  const { items } = await gateway.rank('u1');
  expect(createTokens([next]).open(nth(items, 0).impressionId).kind).toBe('genuine');
});

test('where the label is dwell, a long enough dwell is positive, once, and a click is only logged', async () => {
  await world.applyLine({ label: { event: 'dwell', minDwell: '10s' } });
  const gateway = await world.gateway();
  const { items } = await gateway.rank('u1');
  const { impressionId } = nth(items, 0);
  const dwell = (value?: number) => ({ impressionId, event: 'dwell', ...(value === undefined ? {} : { value }) });
  const events = [{ impressionId, event: 'click' }, dwell(3_000), dwell(12_000), dwell(15_000), dwell()];
  const { body } = await gateway.post('/v1/feedback', { events });
  expect(body).toMatchObject({ accepted: 4, refused: [{ reason: 'dwell needs a value: the milliseconds' }] });
  await gateway.close();
  expect((await world.sums())['0 stable']).toMatchObject({ clicks: 1 });
  expect((await world.feedback()).map(({ value }) => value)).toEqual([null, 3_000, 12_000, 15_000]);
});

test('of the dwells of an impression the largest counts, bounded, on whichever gateway it comes, and all are logged', async () => {
  await world.applyLine({ health: { maxDwell: '1m' } });
  const one = await world.gateway();
  const two = await world.gateway({ processId: 'gateway-2' });
  const { items } = await one.rank('u1', [1, 2, 3]);
  const [read, left, other] = items.map(({ impressionId }) => impressionId);
  const dwell = (impressionId: string | undefined, value: number) => ({ impressionId, event: 'dwell', value });
  const events = [
    dwell(read, 3_000),
    dwell(read, 12_000),
    dwell(read, 8_000),
    dwell(left, 90_000),
    dwell(left, 95_000),
  ];
  expect((await one.post('/v1/feedback', { events })).body).toMatchObject({ accepted: 5, duplicates: 0 });
  expect((await two.post('/v1/feedback', { events: [dwell(other, 2_000)] })).body).toMatchObject({ accepted: 1 });
  await Promise.all([one.close(), two.close()]);

  expect((await world.sums())['0 stable']).toMatchObject({
    ...{ impressions: 3, clicks: 0, dwells: 3, dwellSum: 74_000 },
    dwellSquareSum: 12_000 ** 2 + 60_000 ** 2 + 2_000 ** 2,
  });
  expect((await world.feedback()).map(({ value }) => value).toSorted((a, b) => (a ?? 0) - (b ?? 0))).toEqual([
    2_000, 3_000, 8_000, 12_000, 90_000, 95_000,
  ]);
});

test('a dwell that comes more than two hours after its impression is only logged', async () => {
  const gateway = await world.gateway();
  const token = createTokens([KEY]).sign(tokenOf({ answeredAtMs: Date.now() - 2.1 * HOUR_MS }));
  const events = [{ impressionId: `${token}.0`, event: 'dwell', value: 5_000 }];
  expect((await gateway.post('/v1/feedback', { events })).body).toMatchObject({ accepted: 1 });
  await gateway.close();
  expect((await world.sums())['7 canary']).toBeUndefined();
  expect(await world.feedback()).toHaveLength(1);
});

test('bad feedback is a 400 that names the field', async () => {
  const gateway = await world.gateway();
  expect(await gateway.post('/v1/feedback', { events: [] })).toMatchObject({
    status: 400,
    body: { error: 'events: expected at least one event' },
  });
  expect(await gateway.post('/v1/feedback', { events: [{ impressionId: 'a', event: 'like' }] })).toMatchObject({
    status: 400,
    body: { path: 'events[0].event' },
  });
});

test('a replayed line lives in the time of its requests: log, expiry and arrival', async () => {
  await world.applyLine({ clock: 'replay' });
  const day = Date.UTC(2022, 3, 25, 10);
  await setEventClock(world.database.db, { line: LINE, eventMs: day + HOUR_MS, rate: 0 });
  const gateway = await world.gateway();
  const { items } = await gateway.rank('u1', [1], { eventTimeMs: day });
  const { impressionId } = nth(items, 0);
  const click = (eventTimeMs: number) => ({ impressionId, event: 'click', eventTimeMs });
  const { body } = await gateway.post('/v1/feedback', {
    events: [click(day + 49 * HOUR_MS), click(day + 2 * HOUR_MS)],
  });
  expect(body).toMatchObject({ accepted: 1, refused: [{ reason: expect.stringContaining('expired') as string }] });
  // Without a time of its own, a request happens when the clock says.
  await gateway.rank('u2', [1]);
  await gateway.close();
  const [first, second] = (await world.impressions()).toSorted((a, b) => a.eventTimeMs - b.eventTimeMs);
  expect(first).toMatchObject({ eventTimeMs: day });
  expect(first?.arrivedAtMs).toBeGreaterThanOrEqual(day + HOUR_MS);
  expect(second).toMatchObject({ eventTimeMs: day + HOUR_MS });
  expect(await world.feedback()).toMatchObject([{ eventTimeMs: day + 2 * HOUR_MS }]);
});
