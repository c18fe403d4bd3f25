import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { userPoint } from '../../policy/assignment.ts';
import { confirmation, type Confirmation } from '../../store/processes.ts';
import type { Route } from '../../store/types.ts';
import { impressionKeyOf } from '../../serving/tokens.ts';
import type { FixtureModel } from '../scoring/fixtures.ts';
import { nth } from './nth.ts';
import { TcpProxy } from './tcp-proxy.ts';
import { LINE, until, World, type Candidate, type Client, type Slate } from './world.ts';

const NAMES = ['gateway-1', 'gateway-2', 'gateway-3'];
const LEASE_MS = 4_000;

let world: World;
let stable: number;
/** The way of the third gateway to Postgres. */
let proxy: TcpProxy;
let gateways: Client[];

beforeAll(async () => {
  world = await World.create();
  stable = await world.firstStable('rising');
  proxy = await TcpProxy.to(world.database.url);
  gateways = await Promise.all(
    NAMES.map((processId, index) => world.gateway({ processId, ...(index === 2 && { databaseUrl: proxy.url }) })),
  );
});

afterAll(async () => {
  proxy.close();
  await world.close();
});

const candidates: Candidate[] = [];
afterEach(async () => {
  for (const each of candidates.splice(0)) await world.rollBack(each);
});

async function candidate(model: FixtureModel): Promise<Candidate> {
  const made = await world.candidate(model);
  candidates.push(made);
  return made;
}

async function everywhere(route: Route, names = NAMES): Promise<void> {
  await Promise.all(names.map((name) => world.untilReported(route, name)));
}

const gateway = (index: number): Client => nth(gateways, index % gateways.length);

/** What a rollback to this route waits for. */
const confirmed = ({ epoch }: Route): Promise<Confirmation> =>
  confirmation(world.database.db, { line: LINE, epoch, leaseMs: LEASE_MS });

describe('which users meet the canary', () => {
  const USERS = Array.from({ length: 250 }, (_, index) => `user-${String(index)}`);
  const HOLDBACK = 0.1;

  /** Users by arm. Each asks one gateway, another in each round. */
  async function usersByArm(round: number): Promise<Record<string, string[]>> {
    const users: Record<string, string[]> = { canary: [], stable: [], holdback: [] };
    const answers = await Promise.all(USERS.map((user, index) => gateway(index + round).rank(user)));
    for (const [index, { arm }] of answers.entries()) users[arm]?.push(nth(USERS, index));
    return users;
  }

  test('is the same on every gateway and grows from step to step; the holdback never does; another cycle draws anew', async () => {
    const canary = await candidate('falling');
    const shares = [0.01, 0.05, 0.25, 0.5, 1 - HOLDBACK];
    let before: string[] = [];
    let salt = '';
    for (const [round, canaryShare] of shares.entries()) {
      const route = await world.move(canary, { canary: canary.version, canaryShare, holdback: HOLDBACK });
      await everywhere(route);
      ({ salt } = route);
      const inCanary = USERS.filter((user) => userPoint(user, salt) < canaryShare);
      const { canary: met, holdback } = await usersByArm(round);
      expect(met).toEqual(inCanary);
      expect(met).toEqual(expect.arrayContaining(before));
      expect(holdback).toEqual(USERS.filter((user) => userPoint(user, salt) >= 1 - HOLDBACK));
      before = inCanary;
    }
    // After the promotion the same users stay with the stable before it.
    const promoted = await world.promote(canary, { holdback: HOLDBACK });
    await everywhere(promoted);
    expect(promoted.salt).toBe(salt);
    const held = USERS.filter((user) => userPoint(user, salt) >= 1 - HOLDBACK);
    for (const user of [...held.slice(0, 5), nth(before, 0)]) {
      const versions = await Promise.all(gateways.map(async (each) => (await each.rank(user)).version));
      expect(new Set(versions)).toEqual(new Set([held.includes(user) ? stable : canary.version]));
    }

    await everywhere(await world.rollBack(canary));
    const next = await candidate('falling');
    const route = await world.move(next, { canary: next.version, canaryShare: 0.25, holdback: HOLDBACK });
    await everywhere(route);
    const { canary: met } = await usersByArm(0);
    expect(met).toEqual(USERS.filter((user) => userPoint(user, route.salt) < 0.25));
    // Of two independent quarters a quarter is common.
    const common = met?.filter((user) => userPoint(user, salt) < 0.25) ?? [];
    expect(common.length).toBeLessThan(USERS.length * 0.25 * 0.5);
    expect(common.length).toBeGreaterThan(0);
  });
});

describe('a rollback is confirmed', () => {
  test('once the gateway with an open request of the older route has answered it; the others report at once', async () => {
    const canary = await candidate('slow');
    const ramp = await world.move(canary, { canary: canary.version, canaryShare: 1 });
    await everywhere(ramp);
    const order: string[] = [];
    const slow = gateway(0)
      .rank('u1', [1_200_000])
      .finally(() => order.push('answered'));
    await until(async () => {
      expect(await gateway(0).text('/metrics')).toContain('freshet_open_requests{line="feed"} 1');
    });
    const rolledBack = await world.rollBack(canary);
    await everywhere(rolledBack, NAMES.slice(1));

    const { waitingFor } = await confirmed(rolledBack);
    if (order.length === 0) expect(waitingFor).toMatchObject([{ processId: 'gateway-1', reportedEpoch: ramp.epoch }]);
    expect(await slow).toMatchObject({ version: stable, epoch: ramp.epoch });
    await until(async () => {
      expect(await confirmed(rolledBack)).toEqual({ confirmed: true, waitingFor: [] });
    });
  });

  test('a lease after the last word of a gateway that lost Postgres, which by then serves stable alone', async () => {
    await world.applyLine({ canary: { lease: `${String(LEASE_MS)}ms`, checkEvery: '1s' } });
    const canary = await candidate('falling');
    const ramp = await world.move(canary, { canary: canary.version, canaryShare: 1, leaseMs: LEASE_MS });
    await everywhere(ramp);
    proxy.silence();
    const rolledBack = await world.rollBack(canary);
    await everywhere(rolledBack, NAMES.slice(0, 2));
    expect((await confirmed(rolledBack)).waitingFor).toMatchObject([
      { processId: 'gateway-3', reportedEpoch: ramp.epoch },
    ]);
    expect(await gateway(0).rank('u1')).toMatchObject({ version: stable, epoch: rolledBack.epoch });
    // It can not know better, and its lease holds.
    let last: Slate = await gateway(2).rank('u1');
    await until(async () => {
      const state = await confirmed(rolledBack);
      for (const { seenSecondsAgo } of state.waitingFor) expect(seenSecondsAgo).toBeLessThanOrEqual(LEASE_MS / 1_000);
      expect(state.confirmed).toBe(true);
      last = await gateway(2).rank('u1');
    });
    expect(last).toMatchObject({ version: stable, arm: 'stable', epoch: ramp.epoch });
    expect(await world.reportedEpochs()).toMatchObject({ 'gateway-3': ramp.epoch });

    proxy.restore();
    await everywhere(rolledBack);
    expect(await gateway(2).rank('u1')).toMatchObject({ version: stable, epoch: rolledBack.epoch });
  });

  test('by a gateway that starts in between as well: it is on the list before it reads the route', async () => {
    const canary = await candidate('falling');
    const ramp = await world.move(canary, { canary: canary.version, canaryShare: 1 });
    await everywhere(ramp);
    const { db } = world.database;
    const lock = await db.connect();
    // Nobody reads a route until this is over; registering and reporting need none.
    await lock.query('begin');
    await lock.query('set local idle_in_transaction_session_timeout = 0');
    await lock.query('lock table route_heads in access exclusive mode');
    const fourth = world.gateway({ processId: 'gateway-4' });
    await until(async () => {
      const { waitingFor } = await confirmed(ramp);
      expect(waitingFor).toMatchObject([{ processId: 'gateway-4', reportedEpoch: 0 }]);
    }).finally(() => lock.query('rollback'));
    lock.release();
    await fourth;
    const rolledBack = await world.rollBack(canary);
    await everywhere(rolledBack, [...NAMES, 'gateway-4']);
    expect(await confirmed(rolledBack)).toEqual({ confirmed: true, waitingFor: [] });
    await (await fourth).close();
  });
});

test('feedback on a canary impression counts for the canary, whichever gateway takes it and whatever it serves by then', async () => {
  const canary = await candidate('falling');
  await everywhere(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
  const slates = await Promise.all(['u1', 'u2', 'u3'].map((user) => gateway(0).rank(user)));
  const clicked = slates.map(({ items }) => nth(items, 0).impressionId);
  const keys = slates.map(({ token }) => impressionKeyOf(token, 0));
  expect(await gateway(1).click(nth(clicked, 0))).toMatchObject({ accepted: 1, refused: [] });
  await everywhere(await world.rollBack(canary));
  expect(await gateway(1).click(nth(clicked, 1))).toMatchObject({ accepted: 1, refused: [] });
  expect(await gateway(2).click(nth(clicked, 2))).toMatchObject({ accepted: 1, refused: [] });

  await until(async () => {
    const sums = await world.sums();
    expect(sums[`${String(canary.version)} canary`]).toMatchObject({ requests: 3, impressions: 6, clicks: 3 });
    expect(sums[`${String(stable)} stable`]?.clicks ?? 0).toBe(0);
    expect((await world.feedback()).map(({ impressionId }) => impressionId).toSorted()).toEqual(keys.toSorted());
  });
});

test('the same requests are explored on each gateway, in the same order, and each logs the propensity', async () => {
  await world.applyLine({ exploration: { share: 0.2 } });
  await until(async () => {
    for (const each of gateways) {
      const explored = await Promise.all(ids(20).map((requestId) => each.rank('u1', [4, 3, 2, 1], { requestId })));
      expect(explored.some(({ arm }) => arm === 'exploration')).toBe(true);
    }
  });
  const answers = await Promise.all(
    gateways.map((each) =>
      Promise.all(ids(60).map((requestId) => each.rank('u1', [4, 3, 2, 1], { requestId: `r-${requestId}` }))),
    ),
  );
  const told = answers.map((slates) => slates.map(({ arm, items }) => `${arm} ${items.map(({ id }) => id).join()}`));
  expect(told[1]).toEqual(told[0]);
  expect(told[2]).toEqual(told[0]);
  const explored = new Set(nth(answers, 0).flatMap(({ arm, requestId }) => (arm === 'exploration' ? [requestId] : [])));
  expect(explored.size).toBeGreaterThan(3);
  await until(async () => {
    const logged = (await world.impressions()).filter(({ requestId }) => requestId.startsWith('r-'));
    expect(logged).toHaveLength(3 * 60 * 4);
    for (const { requestId, propensity } of logged) expect(propensity).toBe(explored.has(requestId) ? 0.25 : 1);
  });
  await world.applyLine();
});

const ids = (count: number): string[] => Array.from({ length: count }, (_, index) => `request-${String(index)}`);
