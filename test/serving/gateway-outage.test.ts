import { join } from 'node:path';
import { rm } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TcpProxy } from './tcp-proxy.ts';
import { nth } from './nth.ts';
import { LINE, until, World } from './world.ts';

let world: World;
let proxy: TcpProxy;
let stable: number;
beforeEach(async () => {
  world = await World.create();
  stable = await world.firstStable('rising');
  proxy = await TcpProxy.to(world.database.url);
});
afterEach(async () => {
  proxy.close();
  await world.close();
});

test.each(['cut', 'silent'] as const)(
  'with Postgres %s the canary ends with its lease, without any message, and stable serves on',
  async (how) => {
    const gateway = await world.gateway({ databaseUrl: proxy.url });
    const canary = await world.candidate('falling');
    await world.untilReported(await world.move(canary, { canary: canary.version, canaryShare: 1 }));
    await world.setLease(6_000);
    await until(async () => {
      const { body } = await gateway.get<{ leaseMsLeft: number }>(`/v1/route?line=${LINE}`);
      expect(body.leaseMsLeft).toBeLessThanOrEqual(6_000);
    });
    if (how === 'cut') proxy.cut();
    else proxy.silence();
    // Renewed behind the gateway's back: a lease that it can not read is none.
    await world.setLease(600_000);
    await until(async () => {
      expect(await gateway.rank('u1')).toMatchObject({ version: stable, arm: 'stable', epoch: 3 });
    });
    await until(async () => {
      expect(await gateway.get('/readyz')).toMatchObject({ status: 200, body: { postgres: 'unreachable' } });
    });

    proxy.restore();
    await until(async () => {
      expect(await gateway.rank('u1')).toMatchObject({ version: canary.version, arm: 'canary' });
    });
    const rolledBack = await world.rollBack(canary);
    await world.untilReported(rolledBack);
    expect(await gateway.rank('u1')).toMatchObject({ version: stable, arm: 'stable', epoch: rolledBack.epoch });
  },
);

test('what was counted while Postgres was gone is written when it is back', async () => {
  const gateway = await world.gateway({ databaseUrl: proxy.url });
  proxy.cut();
  const { items } = await gateway.rank('u1');
  await gateway.click(nth(items, 0).impressionId);
  await until(async () => {
    expect(await gateway.get('/readyz')).toMatchObject({ body: { postgres: 'unreachable' } });
  });
  proxy.restore();
  await until(async () => {
    expect((await world.sums())[`${String(stable)} stable`]).toMatchObject({ requests: 1, clicks: 1 });
  });
});

test('restarted without Postgres a gateway serves the stable it served last, and never a canary', async () => {
  const canary = await world.candidate('falling');
  await world.move(canary, { canary: canary.version, canaryShare: 1 });
  const first = await world.gateway({ databaseUrl: proxy.url });
  expect(await first.rank('u1')).toMatchObject({ arm: 'canary' });
  await first.close();

  proxy.cut();
  const second = await world.gateway({ databaseUrl: proxy.url });
  expect(await second.rank('u1')).toMatchObject({ version: stable, arm: 'stable', epoch: 3 });
  expect((await second.get(`/v1/route?line=${LINE}`)).body).toMatchObject({ source: 'cache', canary: null });
  expect(await second.get('/readyz')).toMatchObject({ status: 200, body: { postgres: 'unreachable' } });

  proxy.restore();
  await until(async () => {
    expect(await second.rank('u1')).toMatchObject({ version: canary.version, arm: 'canary' });
  });
  expect(await world.reportedEpochs()).toEqual({ 'gateway-1': 3 });
});

test('without Postgres and without anything cached a gateway does not start, and says what to do', async () => {
  proxy.cut();
  await expect(world.gateway({ databaseUrl: proxy.url })).rejects.toThrow(
    /Postgres at .* can not be reached: .*\. Start it, or set DATABASE_URL.*There is nothing to serve until then: nothing is cached/,
  );
});

test('a stable version whose artifact is gone keeps the gateway from being ready, and holds up no rollback', async () => {
  await rm(join(world.folder, 'artifacts'), { recursive: true });
  const gateway = await world.gateway();
  const { status, body } = await gateway.get<{ reasons: string[] }>('/readyz');
  expect(status).toBe(503);
  expect(body.reasons[0]).toMatch(/artifact [0-9a-f]{64} is missing/);
  expect(
    await gateway.post('/v1/rank', { line: LINE, requestId: 'r', userId: 'u', candidates: [{ id: 'a' }] }),
  ).toMatchObject({
    status: 503,
  });
  await until(async () => {
    expect(await world.reportedEpochs()).toEqual({ 'gateway-1': 2 });
  });
});
