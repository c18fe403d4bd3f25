import { readFile, rm } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { userPoint } from '../../policy/assignment.ts';
import { readVersion } from '../../store/versions.ts';
import { TcpProxy } from './tcp-proxy.ts';
import { LINE, until, World, type Candidate, type Client, type Slate } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  await world.close();
});

const USERS = Array.from({ length: 40 }, (_, index) => `user-${String(index)}`);
const HOLDBACK = 0.2;

async function answersOf(gateway: Client): Promise<Map<string, Slate>> {
  const answers = new Map<string, Slate>();
  for (const user of USERS) answers.set(user, await gateway.rank(user));
  return answers;
}

const usersIn = (answers: Map<string, Slate>, arm: string): string[] =>
  [...answers].filter(([, answer]) => answer.arm === arm).map(([user]) => user);

/** Of a route: those who keep the old stable. */
const heldBack = (salt: string): string[] => USERS.filter((user) => userPoint(user, salt) >= 1 - HOLDBACK);

/** A cycle at its last step over that stable. */
async function fullRamp(model: 'rising' | 'falling'): Promise<Candidate> {
  const candidate = await world.candidate(model);
  await world.move(candidate, { canary: candidate.version, canaryShare: 1 - HOLDBACK, holdback: HOLDBACK });
  return candidate;
}

test.each([1, 4])(
  'who was held back in the ramp keeps the old stable in the watch, with %i versions kept loaded',
  async (keepVersions) => {
    const old = await world.firstStable('rising');
    const gateway = await world.gateway({ keepVersions });
    const candidate = await fullRamp('falling');
    await until(async () => {
      expect((await gateway.rank('u')).epoch).toBe(3);
    });
    const ramp = await answersOf(gateway);
    const promoted = await world.promote(candidate, { holdback: HOLDBACK });
    await world.untilReported(promoted);
    const watch = await answersOf(gateway);

    const held = heldBack(promoted.salt);
    expect(held.length).toBeGreaterThan(3);
    expect(usersIn(ramp, 'holdback')).toEqual(held);
    expect(usersIn(watch, 'holdback')).toEqual(held);
    for (const [user, { arm, version, items }] of watch) {
      expect([arm, version]).toEqual(held.includes(user) ? ['holdback', old] : ['stable', candidate.version]);
      // The two rank the other way round, so the answer shows who gave it.
      expect(items[0]?.id).toBe(held.includes(user) ? 'item-1' : 'item-0');
    }
    expect((await gateway.get(`/v1/route?line=${LINE}`)).body).toMatchObject({
      ...{ stable: candidate.version, canary: null, holdback: HOLDBACK, holdbackVersion: old, leaseMsLeft: 0 },
    });

    const settled = await world.settle(candidate);
    await world.untilReported(settled);
    for (const user of held.slice(0, 2))
      expect(await gateway.rank(user)).toMatchObject({ arm: 'stable', version: candidate.version });
  },
);

test('both arms of the watch are counted under their versions, clicks too', async () => {
  const old = await world.firstStable('rising');
  const candidate = await fullRamp('falling');
  const { salt } = await world.promote(candidate, { holdback: HOLDBACK });
  const gateway = await world.gateway();
  const answers = await answersOf(gateway);
  const held = heldBack(salt);
  const clicked = [answers.get(held[0] ?? '')?.items[0]?.impressionId ?? ''];
  expect(await gateway.click(...clicked)).toMatchObject({ accepted: 1 });
  await gateway.close();
  expect(await world.sums()).toMatchObject({
    [`${String(old)} holdback`]: { requests: held.length, errors: 0, clicks: 1 },
    [`${String(candidate.version)} stable`]: { requests: USERS.length - held.length, errors: 0, clicks: 0 },
  });
  const logged = (await world.impressions()).filter(({ arm }) => arm === 'holdback');
  expect(new Set(logged.map(({ version }) => version))).toEqual(new Set([old]));
});

test('a rollback in the watch puts everyone on the old stable, which is loaded still', async () => {
  const old = await world.firstStable('rising');
  const gateway = await world.gateway({ keepVersions: 1 });
  const candidate = await fullRamp('falling');
  await world.untilReported(await world.promote(candidate, { holdback: HOLDBACK }));
  // Nothing could be loaded any more.
  await rm(`${world.folder}/artifacts`, { recursive: true });
  const back = await world.rollBack(candidate);
  await world.untilReported(back);
  const answers = await answersOf(gateway);
  expect(usersIn(answers, 'stable')).toEqual(USERS);
  expect(new Set([...answers.values()].map(({ version }) => version))).toEqual(new Set([old]));
});

test.each(['throwing', 'nan'] as const)(
  'a holdback on a version that is %s costs no answer and is counted',
  async (model) => {
    const old = await world.firstStable(model);
    const candidate = await fullRamp('rising');
    const { salt } = await world.promote(candidate, { holdback: HOLDBACK });
    const gateway = await world.gateway();
    const held = heldBack(salt).slice(0, 3);
    for (const user of held)
      expect(await gateway.rank(user)).toMatchObject({ arm: 'holdback', version: candidate.version });
    await gateway.close();
    const sums = await world.sums();
    expect(sums[`${String(old)} holdback`]).toMatchObject({
      requests: held.length,
      errors: held.length,
      impressions: 0,
    });
    // On neither side of the comparison: not what the promoted version was given to answer.
    expect(sums[`${String(candidate.version)} stable`]).toBeUndefined();
    expect(sums[`${String(candidate.version)} holdback`]).toMatchObject({ requests: held.length, errors: 0 });
  },
);

test('a holdback on a version that can not be loaded costs no answer, and is there once it can be', async () => {
  const { db } = world.database;
  const old = await world.firstStable('rising');
  const candidate = await fullRamp('falling');
  const route = await world.promote(candidate, { holdback: HOLDBACK });
  const { modelSha256 } = await readVersion(db, { line: LINE, version: old });
  const path = await world.artifacts.path(modelSha256 ?? '');
  const bytes = await readFile(path);
  await rm(path);
  const gateway = await world.gateway();
  await world.untilReported(route);
  const [user = ''] = heldBack(route.salt);
  expect(await gateway.rank(user)).toMatchObject({ arm: 'holdback', version: candidate.version });
  await world.artifacts.put(bytes);
  await until(async () => {
    expect(await gateway.rank(user)).toMatchObject({ arm: 'holdback', version: old });
  });
});

test('restarted without Postgres in a watch, a gateway serves the promoted version to everyone', async () => {
  await world.firstStable('rising');
  const candidate = await fullRamp('falling');
  const { salt } = await world.promote(candidate, { holdback: HOLDBACK });
  const proxy = await TcpProxy.to(world.database.url);
  const first = await world.gateway({ databaseUrl: proxy.url });
  const [user = ''] = heldBack(salt);
  expect(await first.rank(user)).toMatchObject({ arm: 'holdback' });
  await first.close();
  proxy.cut();
  const second = await world.gateway({ databaseUrl: proxy.url });
  expect(await second.rank(user)).toMatchObject({ arm: 'stable', version: candidate.version });
  expect((await second.get(`/v1/route?line=${LINE}`)).body).toMatchObject({ source: 'cache', holdbackVersion: null });
  proxy.close();
});
