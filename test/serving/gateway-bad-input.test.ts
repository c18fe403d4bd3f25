import { afterEach, beforeEach, expect, test } from 'vitest';
import { rankRequest, World, type Client } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  await world.close();
});

const send = async (gateway: Client, change: object) =>
  gateway.post('/v1/rank', { ...rankRequest('u1', [1]), ...change });

test('a bad request is answered with 4xx, the field and what was expected, and no stack', async () => {
  await world.firstStable('rising');
  const gateway = await world.gateway();
  const cases: [change: object, status: number, message: RegExp, path?: string][] = [
    [{ candidates: [] }, 400, /candidates: expected at least one candidate/, 'candidates'],
    [{ candidates: undefined }, 400, /candidates: .*expected array/, 'candidates'],
    [{ candidates: [{ id: 3 }] }, 400, /candidates\[0\]\.id: .*expected string/, 'candidates[0].id'],
    [{ candidates: [{ id: 'a' }, { id: 'a' }] }, 400, /candidates\[1\]\.id: "a" is listed twice/, 'candidates[1].id'],
    [{ candidates: Array.from({ length: 501 }, (_, id) => ({ id: String(id) })) }, 400, /at most 500 candidates/],
    [{ candidates: [{ id: 'a', features: 5 }] }, 400, /candidates\[0\]\.features: .*expected record/],
    [{ candidates: [{ id: 'a', position: 1 }] }, 400, /candidates\[0\]: .*position/],
    [{ userId: 'u'.repeat(257) }, 400, /userId: /, 'userId'],
    [{ limit: 1.5 }, 400, /limit: /, 'limit'],
    [{ deadlineMs: 0 }, 400, /deadlineMs: /, 'deadlineMs'],
    [{ userId: 7 }, 400, /userId: .*expected string/, 'userId'],
    [{ limit: 0 }, 400, /limit: /, 'limit'],
    [{ candidate: [] }, 400, /candidate/],
    [{ line: 'nobody' }, 404, /no model line "nobody" here: apply its config with "freshet schedule apply"/, 'line'],
    [{ eventTimeMs: 1 }, 400, /eventTimeMs: only lines whose clock is "replay"/, 'eventTimeMs'],
    [
      { candidates: [{ id: 'a', features: { quality: 'high' } }] },
      400,
      /feature "quality" at candidates\[0\]\.features\.quality: expected a finite number .* got the text "high"/,
      'candidates[0].features.quality',
    ],
    [{ candidates: [{ id: 'a', features: { author: ['x'] } }] }, 400, /feature "author" .* got a list/],
  ];
  for (const [change, status, message, path] of cases) {
    const answer = await send(gateway, change);
    expect(answer).toMatchObject({ status, body: { error: expect.stringMatching(message) as string } });
    if (path !== undefined) expect(answer.body.path).toBe(path);
    expect(JSON.stringify(answer.body)).not.toContain('.ts:');
  }
  expect(await gateway.post('/v1/rank', '{"line":')).toMatchObject({
    status: 400,
    body: { error: 'the request body is not JSON' },
  });
  expect(await gateway.post('/v1/ranks', {})).toMatchObject({
    status: 404,
    body: { error: expect.stringContaining('POST /v1/rank') as string },
  });
  // None of it was counted as an answer or an error of the model.
  await gateway.close();
  expect(await world.sums()).toEqual({});
});

test('a body over the limit is refused with 413', async () => {
  const gateway = await world.gateway({ bodyLimitBytes: 1_000 });
  const answer = await send(gateway, { user: { text: 'x'.repeat(2_000) } });
  expect(answer).toMatchObject({
    status: 413,
    body: { error: expect.stringContaining('larger than 1000 bytes') as string },
  });
});
