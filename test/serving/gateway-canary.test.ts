import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RankAnswer } from '../../serving/ranker.ts';
import { userPoint } from '../../policy/assignment.ts';
import { LINE, until, World, type Client } from './world.ts';

let world: World;
let stable: number;
beforeEach(async () => {
  world = await World.create();
  stable = await world.firstStable('rising');
});
afterEach(async () => {
  await world.close();
});

const USERS = Array.from({ length: 60 }, (_, index) => `user-${String(index)}`);

async function armsOf(gateway: Client): Promise<Map<string, RankAnswer>> {
  const answers = new Map<string, RankAnswer>();
  for (const user of USERS) answers.set(user, await gateway.rank(user));
  return answers;
}

const usersIn = (answers: Map<string, RankAnswer>, arm: string): string[] =>
  [...answers].filter(([, answer]) => answer.arm === arm).map(([user]) => user);

test('users who meet the canary in one step keep it in the next, and the holdback never meets it', async () => {
  const gateway = await world.gateway();
  const canary = await world.candidate('falling');
  const small = await world.move(canary, { canary: canary.version, canaryShare: 0.2, holdback: 0.2 });
  await world.untilReported(small);
  const first = await armsOf(gateway);
  const large = await world.move(canary, { canary: canary.version, canaryShare: 0.6, holdback: 0.2 });
  await world.untilReported(large);
  const second = await armsOf(gateway);

  const [early, later] = [usersIn(first, 'canary'), usersIn(second, 'canary')];
  expect(early.length).toBeGreaterThan(3);
  expect(later.length).toBeGreaterThan(early.length);
  expect(later).toEqual(expect.arrayContaining(early));
  expect(usersIn(first, 'holdback')).toEqual(usersIn(second, 'holdback'));
  expect(early).toEqual(USERS.filter((user) => userPoint(user, small.salt) < 0.2));
  for (const [user, answer] of second) {
    expect(answer.version).toBe(answer.arm === 'canary' ? canary.version : stable);
    // The canary ranks the other way round, so the answer shows who gave it.
    expect(answer.items[0]?.id).toBe(later.includes(user) ? 'item-0' : 'item-1');
  }
});

test.each(['nan', 'throwing'] as const)('a canary that answers %s costs no answer and is counted', async (model) => {
  const gateway = await world.gateway();
  const canary = await world.candidate(model);
  await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
  for (const user of USERS.slice(0, 5)) {
    const answer = await gateway.rank(user);
    expect(answer).toMatchObject({ version: stable, arm: 'canary' });
    expect(answer.items.map(({ id }) => id)).toEqual(['item-1', 'item-0']);
  }
  expect(await gateway.text('/metrics')).toContain(
    `freshet_canary_fallbacks_total{line="feed",version="${String(canary.version)}"} 5`,
  );
  await gateway.close();
  const sums = await world.sums();
  expect(sums[`${String(canary.version)} canary`]).toMatchObject({ requests: 5, errors: 5, impressions: 0 });
  expect(sums[`${String(stable)} canary`]).toMatchObject({ requests: 5, errors: 0, impressions: 10 });
  const logged = await world.impressions();
  expect(new Set(logged.map(({ arm, version }) => `${arm} ${String(version)}`))).toEqual(
    new Set([`canary ${String(stable)}`]),
  );
});

test('a canary that hangs is answered by stable after its deadline', async () => {
  const gateway = await world.gateway({ canaryDeadlineMs: 20 });
  const canary = await world.candidate('slow');
  await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
  const answer = await gateway.rank('u1', [1_500_000, 2]);
  expect(answer).toMatchObject({ version: stable, arm: 'canary' });
  await gateway.close();
  expect((await world.sums())[`${String(canary.version)} canary`]).toMatchObject({ requests: 1, errors: 1 });
});

test('a canary that can not be loaded is reported, answered by stable and counted', async () => {
  const gateway = await world.gateway();
  const canary = await world.candidate({ bytes: Buffer.from('not a model'), like: 'rising' });
  await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
  expect(await gateway.rank('u1')).toMatchObject({ version: stable, arm: 'canary' });
  await gateway.close();
  expect((await world.sums())[`${String(canary.version)} canary`]).toMatchObject({ requests: 1, errors: 1 });
});

test('a bad request is no error of the canary', async () => {
  const gateway = await world.gateway();
  const canary = await world.candidate('falling');
  await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
  const candidates = [{ id: 'a', features: { quality: 'high' } }];
  const answer = await gateway.post('/v1/rank', { line: LINE, requestId: 'r', userId: 'u1', candidates });
  expect(answer.status).toBe(400);
  await gateway.close();
  expect(await world.sums()).toEqual({});
});

test('a canary serves while its lease holds, and not after, though the route still names it', async () => {
  const gateway = await world.gateway();
  const canary = await world.candidate('falling');
  await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
  expect(await gateway.rank('u1')).toMatchObject({ version: canary.version, arm: 'canary', epoch: 3 });
  await world.setLease(0);
  await until(async () => {
    expect(await gateway.rank('u1')).toMatchObject({ version: stable, arm: 'stable', epoch: 3 });
  });
  expect((await gateway.get('/v1/route?line=feed')).body).toMatchObject({ canary: canary.version, leaseMsLeft: 0 });
});

test('an epoch is reported only when no request routed under an older one is open', async () => {
  const gateway = await world.gateway();
  const canary = await world.candidate('slow');
  const ramp = await world.move(canary, { canary: canary.version, canaryShare: 1 });
  await world.untilReported(ramp);
  const order: string[] = [];
  const slow = gateway.rank('u1', [600_000]).then((answer) => {
    order.push('answered');
    return answer;
  });
  await until(async () => {
    // The request is routed once it is open: the gateway says so by not answering.
    expect(await gateway.text('/metrics')).toContain('freshet_open_requests{line="feed"} 1');
  });
  const rolledBack = await world.rollBack(canary);
  await until(async () => {
    expect((await gateway.get('/v1/route?line=feed')).body).toMatchObject({ epoch: rolledBack.epoch });
  });
  // A request of the new epoch goes through, and still the epoch is not reported.
  expect(await gateway.rank('u2')).toMatchObject({ version: stable, arm: 'stable', epoch: rolledBack.epoch });
  if (order.length === 0) expect(await world.reportedEpochs()).toEqual({ 'gateway-1': ramp.epoch });
  // The candidate was taken away while it scored, so stable answers.
  expect(await slow).toMatchObject({ version: stable, arm: 'stable', epoch: ramp.epoch });
  await world.untilReported(rolledBack);
});

test.each([1, 4])(
  'a promoted canary is stable and a rollback brings the old one back, with %i versions kept loaded',
  async (keepVersions) => {
    const gateway = await world.gateway({ keepVersions });
    const canary = await world.candidate('falling');
    await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 0.9, holdback: 0.1 }));
    await world.untilReported(await world.promote(canary));
    expect(await gateway.rank('u1')).toMatchObject({ version: canary.version, arm: 'stable' });
    const back = await world.rollBack(canary);
    await world.untilReported(back);
    expect(await gateway.rank('u1')).toMatchObject({ version: stable, arm: 'stable', epoch: back.epoch });
  },
);
