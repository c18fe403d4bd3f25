import { afterEach, beforeEach, expect, test } from 'vitest';
import { rankRequest, until, World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  await world.close();
});

/** Turns of the slow model's loop that take much longer than the few milliseconds that are waited. */
const SLOW = 1_500_000;

test('while stable is behind by more than the limit, requests are refused with 503 and when to come back', async () => {
  await world.firstStable('slow');
  const gateway = await world.gateway({ shedAfterMs: 10 });
  const slow = gateway.rank('u1', [SLOW]);
  await until(async () => {
    expect(await gateway.text('/metrics')).toContain('freshet_open_requests{line="feed"} 1');
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  const response = await fetch(`${gateway.url}/v1/rank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(rankRequest('u2', [1])),
  });
  expect(response.status).toBe(503);
  expect(response.headers.get('retry-after')).toBe('1');
  expect(await response.json()).toMatchObject({ error: expect.stringMatching(/try again in a moment/) as string });
  // What was taken is answered, and then there is room again.
  expect((await slow).items).toHaveLength(1);
  expect((await gateway.rank('u2', [1])).items).toHaveLength(1);
  await gateway.close();
  expect(Object.values(await world.sums())).toMatchObject([{ requests: 2, errors: 0 }]);
});

test('a request that says how long it waits is answered in the input order once that has passed', async () => {
  const version = await world.firstStable('slow');
  const gateway = await world.gateway();
  const answer = await gateway.rank('u1', [SLOW, 1], { deadlineMs: 20 });
  expect(answer).toMatchObject({ version: 0, arm: 'stable' });
  expect(answer.items.map(({ id }) => id)).toEqual(['item-0', 'item-1']);
  await gateway.close();
  expect((await world.sums())[`${String(version)} stable`]).toMatchObject({ errors: 1 });
});

test('a canary that hangs leaves stable half of the time that the request has', async () => {
  const stable = await world.firstStable('rising');
  const gateway = await world.gateway();
  const canary = await world.candidate('slow');
  await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
  const answer = await gateway.rank('u1', [SLOW, 1], { deadlineMs: 2_000 });
  expect(answer).toMatchObject({ version: stable, arm: 'canary' });
});
