import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { projectRoot } from '../../scripts/stack/project.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';

const line = `up-${randomBytes(4).toString('hex')}`;
let folder: string;
let database: TestDatabase;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'freshet-up-'));
  writeFileSync(join(folder, 'line.yaml'), `line: ${line}\nfeatures: [{ kind: categorical, name: topic }]\n`);
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
  const connection = await Connection.connect({ address: inject('temporalAddress') });
  await new Client({ connection }).schedule.getHandle(`freshet-${line}`).delete();
  await connection.close();
  rmSync(folder, { recursive: true });
});

/** Five processes start, each of which compiles its sources. */
const TIMEOUT_MS = 240_000;

test(
  'up starts the gateway and the workers, puts the lines in force, and Ctrl-C leaves nothing',
  { timeout: TIMEOUT_MS },
  async () => {
    const { up, gatewayUrl, output } = await startUp();
    expect(await statusOf(`${gatewayUrl}/healthz`)).toBe(200);
    expect(JSON.parse(output())).toMatchObject({ lines: [{ line, config: 'created', schedule: 'created' }] });
    up.kill('SIGINT');
    expect(await once(up, 'exit')).toEqual([130, null]);
    expect(await statusOf(`${gatewayUrl}/healthz`)).toBeNull();
    expect(() => readFileSync(join(folder, 'stack.json'))).toThrow('ENOENT');
  },
);

test(
  'when one of the processes ends by itself, everything stops and its last lines are shown',
  { timeout: TIMEOUT_MS },
  async () => {
    const { up, gatewayUrl, output, errors } = await startUp();
    const { processes } = JSON.parse(output()) as { processes: { gateway: number } };
    process.kill(processes.gateway, 'SIGKILL');
    expect(await once(up, 'exit')).toEqual([1, null]);
    expect(errors()).toContain('gateway ended by itself (SIGKILL)');
    expect(await statusOf(`${gatewayUrl}/healthz`)).toBeNull();
  },
);

interface Up {
  up: ChildProcess;
  gatewayUrl: string;
  output: () => string;
  errors: () => string;
}

async function startUp(): Promise<Up> {
  const up = spawn(
    process.execPath,
    ['scripts/bootstrap.mjs', 'scripts/freshet.ts', 'up', join(folder, 'line.yaml'), '--json'],
    {
      cwd: projectRoot(),
      env: {
        ...process.env,
        DATABASE_URL: database.url,
        TEMPORAL_ADDRESS: inject('temporalAddress'),
        FRESHET_DIR: folder,
        FRESHET_PYTHON: inject('pythonPath'),
        FRESHET_QUEUE_PREFIX: line,
      },
    },
  );
  let out = '';
  let err = '';
  up.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  up.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  while (!out.endsWith('}\n')) {
    const next = await Promise.race([once(up.stdout, 'data'), once(up, 'exit').then(() => 'ended')]);
    if (next === 'ended') throw new Error(`up ended:\n${err}`);
  }
  const { gatewayUrl } = JSON.parse(out) as { gatewayUrl: string };
  return { up, gatewayUrl, output: () => out, errors: () => err };
}

async function statusOf(url: string): Promise<number | null> {
  return fetch(url).then(
    (answer) => answer.status,
    () => null,
  );
}
