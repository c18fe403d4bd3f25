import { copyFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { impressionKeyOf } from '../../serving/tokens.ts';
import { runFreshet } from '../rig/freshet.ts';
import { nth } from './nth.ts';
import { until, World, type Client } from './world.ts';

let world: World;
let master: string;
beforeEach(async () => {
  world = await World.create();
  master = join(world.folder, 'token-keys');
  vi.stubEnv('DATABASE_URL', world.database.url);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await world.close();
});

interface Installed {
  client: Client;
  file: string;
}

async function install(processId: string): Promise<Installed> {
  const file = join(world.folder, `${processId}.keys`);
  await bring(file);
  return { file, client: await world.gateway({ processId, keys: { file, checkEveryMs: 20 } }) };
}

/** Brings the operator's file to a gateway's machine, whole. */
async function bring(file: string): Promise<void> {
  await copyFile(master, `${file}.tmp`);
  await rename(`${file}.tmp`, file);
}

async function inForce({ client }: Installed, ...keys: string[]): Promise<void> {
  await until(async () => {
    const samples = (await client.text('/metrics'))
      .split('\n')
      .filter((line) => line.startsWith('freshet_signing_key{'));
    const found = samples.map((line) => `${label(line, 'key')} ${label(line, 'use')}`);
    expect(found.toSorted()).toEqual(keys.toSorted());
  });
}

const label = (sample: string, name: string): string => new RegExp(`${name}="(\\w+)"`).exec(sample)?.[1] ?? '';

/** Ranks on each gateway in turn, clicks on another at once, and keeps one click of each answer for later. */
class Traffic {
  readonly late: string[] = [];
  readonly clicked: string[] = [];
  readonly signers = new Set<string>();
  #answers = 0;
  #stopped = false;
  readonly #gateways: readonly Client[];
  readonly #running: Promise<void>;

  constructor(gateways: readonly Client[]) {
    this.#gateways = gateways;
    this.#running = this.#run();
    this.#running.catch(() => undefined);
  }

  /** Until each gateway has answered again, whatever is under way. */
  async goesOn(): Promise<void> {
    const enough = this.#answers + this.#gateways.length + 1;
    await until(() => {
      expect(this.#answers).toBeGreaterThanOrEqual(enough);
    });
  }

  /** Sends what was kept, to gateways that mostly did not serve it. */
  async clickLate(): Promise<void> {
    for (const [index, id] of this.late.splice(0).entries())
      await this.#click(nth(this.#gateways, index % this.#gateways.length), id);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#stopped; turn += 1) {
      const { items, token } = await nth(this.#gateways, turn % this.#gateways.length).rank(`u${String(turn)}`);
      const [header = ''] = token.split('.');
      this.signers.add(nth(JSON.parse(Buffer.from(header, 'base64url').toString()) as string[], 0));
      await this.#click(nth(this.#gateways, (turn + 1) % this.#gateways.length), nth(items, 0).impressionId);
      this.late.push(nth(items, 1).impressionId);
      this.#answers += 1;
    }
  }

  async #click(gateway: Client, id: string): Promise<void> {
    expect(await gateway.click(id)).toEqual({ accepted: 1, duplicates: 0, refused: [] });
    this.clicked.push(id);
  }
}

test('keys are rotated under traffic, gateway by gateway, and no answer or click is lost', async () => {
  expect(await runFreshet('keys', 'create', '--file', master)).toMatchObject({ code: 0 });
  const gateways = [await install('gateway-1'), await install('gateway-2'), await install('gateway-3')];
  const urls = gateways.map(({ client }) => client.url);
  const traffic = new Traffic(gateways.map(({ client }) => client));
  const rotate = (...options: string[]) =>
    runFreshet('keys', 'rotate', '--file', master, ...options, '--gateway', ...urls);
  const bringToAll = async (...keys: string[]): Promise<void> => {
    for (const gateway of gateways) {
      await bring(gateway.file);
      await inForce(gateway, ...keys);
      await traffic.goesOn();
    }
  };

  expect(await rotate()).toMatchObject({ code: 0, out: expect.stringContaining('A key is added') as string });
  await traffic.goesOn();
  await bring(nth(gateways, 0).file);
  await inForce(nth(gateways, 0), 'k1 sign', 'k2 accept');
  const early = await rotate('--step', 'promote');
  expect(early).toMatchObject({ code: 1, err: expect.stringContaining(`${nth(urls, 1)} lacks k2`) as string });
  expect(early.err).not.toContain(nth(urls, 0));
  await bringToAll('k1 sign', 'k2 accept');
  expect([...traffic.signers]).toEqual(['k1']);

  expect(await rotate()).toMatchObject({ code: 0, out: expect.stringContaining('The new key signs') as string });
  await bringToAll('k2 sign', 'k1 accept');
  expect([...traffic.signers]).toEqual(['k1', 'k2']);

  // The lines take clicks for two days.
  expect(await rotate('--settle', '0s')).toMatchObject({
    code: 1,
    err: expect.stringMatching(/are taken for 2d/) as string,
  });
  const { items } = await nth(gateways, 0).client.rank('u');
  await traffic.clickLate();
  expect(await rotate('--settle', '0s', '--token-ttl', '0s')).toMatchObject({ code: 0 });
  await bringToAll('k2 sign');
  await traffic.clickLate();
  await traffic.stop();
  await traffic.clickLate();
  expect(await nth(gateways, 2).client.click(nth(items, 0).impressionId)).toMatchObject({ accepted: 1 });

  await Promise.all(gateways.map(({ client }) => client.close()));
  const logged = (await world.feedback()).map(({ impressionId }) => impressionId);
  const sent = [...traffic.clicked, nth(items, 0).impressionId].map((id) => {
    const dot = id.lastIndexOf('.');
    return impressionKeyOf(id.slice(0, dot), Number(id.slice(dot + 1)));
  });
  expect(logged.toSorted()).toEqual(sent.toSorted());
  expect((await world.sums())['0 stable']).toMatchObject({ clicks: sent.length });
});

test('once its key is retired, a click is refused; with a broken file the gateway goes on with the keys it has', async () => {
  await runFreshet('keys', 'create', '--file', master);
  const gateway = await install('gateway-1');
  const { items } = await gateway.client.rank('u1');
  for (const step of ['add', 'promote', 'retire'])
    expect(await runFreshet('keys', 'rotate', '--file', master, '--step', step, '--force')).toMatchObject({ code: 0 });
  await bring(gateway.file);
  await inForce(gateway, 'k2 sign');
  expect(await gateway.client.click(nth(items, 0).impressionId)).toMatchObject({
    refused: [{ reason: 'signed with a key that is not, or no longer, accepted' }],
  });

  const { items: later } = await gateway.client.rank('u2');
  await rename(gateway.file, `${gateway.file}.away`);
  await until(async () => {
    expect(await gateway.client.text('/metrics')).toContain('freshet_signing_key_file_broken 1');
  });
  expect(await gateway.client.click(nth(later, 0).impressionId)).toMatchObject({ accepted: 1 });
  expect(await gateway.client.get('/readyz')).toMatchObject({ status: 200 });
  await rename(`${gateway.file}.away`, gateway.file);
  await until(async () => {
    expect(await gateway.client.text('/metrics')).toContain('freshet_signing_key_file_broken 0');
  });
});
