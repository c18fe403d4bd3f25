import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RankAnswer } from '../../serving/ranker.ts';
import { createTokens, impressionKeyOf } from '../../serving/tokens.ts';
import { KEY, rankRequest, until, World } from './world.ts';

let world: World;
const children: ChildProcess[] = [];
beforeEach(async () => {
  world = await World.create();
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  await world.close();
});

/** `serving/main.ts` as a process of its own. */
function start(change: Record<string, string | undefined> = {}): {
  child: ChildProcess;
  stdout: string[];
  stderr: string[];
} {
  const environment: NodeJS.ProcessEnv = {
    ...world.environment('main'),
    // So rarely that only a graceful end can have written what the test finds.
    FRESHET_SEAL_EVERY_MS: '3600000',
    FRESHET_FLUSH_EVERY_MS: '3600000',
    ...change,
  };
  const main = fileURLToPath(new URL('../../serving/main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), main], {
    env: Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined)),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  const [stdout, stderr]: [string[], string[]] = [[], []];
  createInterface({ input: child.stdout }).on('line', (line) => stdout.push(line));
  createInterface({ input: child.stderr }).on('line', (line) => stderr.push(line));
  return { child, stdout, stderr };
}

async function listening(stdout: string[]): Promise<string> {
  await until(() => {
    expect(stdout).toHaveLength(1);
  });
  return (JSON.parse(stdout[0] ?? '') as { listening: string }).listening;
}

async function rank(url: string): Promise<RankAnswer> {
  const body = JSON.stringify(rankRequest('u1', [25_000, 1]));
  const response = await fetch(`${url}/v1/rank`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  expect(response.status).toBe(200);
  return (await response.json()) as RankAnswer;
}

test('a gateway that is told to stop answers what is open, and loses neither log nor sums nor its place on the list', async () => {
  await world.firstStable('slow');
  const { child, stdout } = start();
  const url = await listening(stdout);
  expect(await world.reportedEpochs()).toEqual({ main: 2 });
  // More than it can answer at once; what it has not accepted by then is refused.
  const asked = Array.from({ length: 40 }, () => rank(url).catch(() => null));
  await until(async () => {
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/freshet_open_requests\{line="feed"\} [1-9]/);
  });
  const ended = once(child, 'exit') as Promise<[number | null]>;
  child.kill('SIGTERM');
  const answers = (await Promise.all(asked)).filter((answer) => answer !== null);
  expect(answers.length).toBeGreaterThan(0);
  expect(await ended).toEqual([0, null]);
  const answered = answers.flatMap(({ token, items }) => items.map(({ position }) => impressionKeyOf(token, position)));
  const logged = (await world.impressions()).map(({ impressionId }) => impressionId);
  expect(logged.toSorted()).toEqual(answered.toSorted());
  const sums = Object.values(await world.sums());
  expect(sums.reduce((total, { impressions }) => total + impressions, 0)).toBe(answered.length);
  expect(await world.reportedEpochs()).toEqual({});
});

test.each([
  ['without a key', { FRESHET_TOKEN_KEYS: '' }, /no key to sign rank answers with.*randomBytes\(32\)/],
  ['with a short key', { FRESHET_TOKEN_KEYS: 'k1:c2hvcnQ=' }, /signing key "k1" has 5 bytes, expected at least 32/],
  [
    'with keys and a file of keys',
    { FRESHET_TOKEN_KEYS_FILE: '/run/keys' },
    /FRESHET_TOKEN_KEYS and FRESHET_TOKEN_KEYS_FILE are both set/,
  ],
  [
    'with a file of keys that is not there',
    { FRESHET_TOKEN_KEYS: undefined, FRESHET_TOKEN_KEYS_FILE: '/nowhere/keys' },
    /FRESHET_TOKEN_KEYS_FILE \(\/nowhere\/keys\): there is no such file/,
  ],
  ['without a database', { DATABASE_URL: undefined }, /DATABASE_URL: expected the address of Postgres/],
  ['with a port that is none', { FRESHET_PORT: '99999' }, /FRESHET_PORT/],
])('%s the process does not start, and says what to do without a stack', async (_name, change, message) => {
  const { child, stdout, stderr } = start(change);
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code).toBe(1);
  expect(stdout).toEqual([]);
  expect(stderr.join('\n')).toMatch(message);
  expect(stderr.join('\n')).not.toContain('    at ');
});

test('keys of a file sign, and a key that is added to it is accepted without a restart', async () => {
  const next = { id: 'k2', secret: randomBytes(32) };
  const file = join(world.folder, 'keys');
  const written = ({ id, secret }: typeof KEY): string => `${id}:${secret.toString('base64')}\n`;
  await writeFile(file, written(KEY), { mode: 0o600 });
  const { stdout } = start({ FRESHET_TOKEN_KEYS: undefined, FRESHET_TOKEN_KEYS_FILE: file });
  const url = await listening(stdout);
  const { token } = await rank(url);
  expect(createTokens([KEY]).open(`${token}.0`)).toMatchObject({ kind: 'genuine' });
  await writeFile(file, written(KEY) + written(next));
  await until(async () => {
    expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/freshet_signing_key\{key="k2".*use="accept"\} 1/);
  });
});

test('a port in use is said, and the process that did not start is not on the list', async () => {
  const first = await world.gateway();
  const { child, stderr } = start({ FRESHET_PORT: new URL(first.url).port });
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code).toBe(1);
  expect(stderr.join('\n')).toMatch(
    /can not listen on 127\.0\.0\.1:\d+: the port is in use\. Stop what listens there, or set FRESHET_PORT/,
  );
  expect(Object.keys(await world.reportedEpochs())).toEqual(['gateway-1']);
});
