import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import type { Command } from 'commander';
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test, vi } from 'vitest';
import { deleteSchedules } from '../../activities/schedule.ts';
import { freshetProgram } from '../../scripts/commands/program.ts';
import { claimCycle, closeCycle, openCycle } from '../../store/cycles.ts';
import { setAlias } from '../../store/aliases.ts';
import { deliverDue } from '../../store/deliveries.ts';
import { enqueueAlert, pendingAlerts } from '../../store/outbox.ts';
import { registerProcess, reportEpoch } from '../../store/processes.ts';
import { currentRoute } from '../../store/routes.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { runFreshet as freshet } from '../rig/freshet.ts';
import { alert, LINE, lineWithCandidate } from '../store/stage.ts';

const UNREACHABLE = '127.0.0.1:9';
const line = `cli-${randomBytes(4).toString('hex')}`;
let folder: string;
let file: string;
let database: TestDatabase;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'freshet-command-'));
  file = join(folder, 'line.yaml');
  writeFileSync(file, `line: ${line}\nfeatures: [{ kind: categorical, name: topic }]\n`);
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
  const connection = await Connection.connect({ address: inject('temporalAddress') });
  await deleteSchedules(new Client({ connection }), line);
  await connection.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  vi.stubEnv('DATABASE_URL', database.url);
  vi.stubEnv('TEMPORAL_ADDRESS', inject('temporalAddress'));
  vi.stubEnv('FRESHET_DIR', join(folder, 'installation'));
});
afterEach(() => {
  vi.unstubAllEnvs();
});

test('every command shows an example and has --json', () => {
  const commands = leaves(freshetProgram());
  expect(commands.map((command) => command.name()).sort()).toEqual(
    [
      'abort',
      'add',
      'apply',
      'at',
      'card',
      'approve',
      'check',
      'create',
      'diff',
      'doctor',
      'explain',
      'history',
      'lineage',
      'list',
      'list',
      'list',
      'log',
      'migrate',
      'pause',
      'pin',
      'reject',
      'remove',
      'remove',
      'report',
      'reproduce',
      'resume',
      'retention',
      'rollback',
      'rotate',
      'set',
      'show',
      'show',
      'snapshots',
      'start',
      'status',
      'storage',
      'try',
      'unpin',
      'up',
    ].sort(),
  );
  for (const command of commands) {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) });
    command.outputHelp();
    expect(help, command.name()).toContain('$ freshet ');
    expect(help, command.name()).toContain('--json');
  }
});

test('a line is applied, shown, and applied again without a change', async () => {
  expect(await freshet('schedule', 'apply', file)).toMatchObject({
    code: 0,
    out: `${line}: config created, schedule created, a cycle every 4h, triggers looked at every 10m`,
  });
  expect((await freshet('schedule', 'apply', file)).out).toContain('config unchanged, schedule updated');
  const status = await freshet('status', line);
  expect(status.code).toBe(0);
  expect(status.out).toMatch(/serving +the input order \(version 0\) \(epoch 1\)/);
  expect(status.out).toMatch(/schedule +next cycle at \d{4}-/);
  expect((await freshet('versions', line)).out).toMatch(/0 +stable/);
});

test('--json answers one document, errors too', async () => {
  await freshet('schedule', 'apply', file);
  expect(JSON.parse((await freshet('status', line, '--json')).out)).toMatchObject({
    line,
    route: { stable: 0, epoch: 1 },
    cycle: null,
  });
  const problem = await freshet('status', 'nowhere', '--json');
  expect(JSON.parse(problem.out)).toEqual({ error: expect.stringContaining('no model line "nowhere"') as string });
  expect(problem.code).toBe(1);
});

test.each([
  [['status', 'nowhere'], 'no model line "nowhere"'],
  [['cycle', 'start', 'nowhere'], 'no model line "nowhere"'],
  [['schedule', 'apply', '/nowhere/line.yaml'], '/nowhere/line.yaml: no such file'],
  [['pause', 'LINE', '--reason', 'looking'], 'no cycle of LINE is running'],
  [['approve', 'LINE', '--version', '3', '--reason', 'looked'], 'no cycle of LINE is running'],
  [['rollback', 'LINE', '--reason', 'worse'], 'stable'],
])('freshet %j is refused with one message and code 1', async (args, message) => {
  await freshet('schedule', 'apply', file);
  const { code, err } = await freshet(...args.map((arg) => arg.replace('LINE', line)));
  expect(code).toBe(1);
  expect(err).toContain(message.replace('LINE', line));
  expect(err).not.toMatch(/\n\s+at /);
});

test('Postgres that can not be reached is named, with what to do', async () => {
  vi.stubEnv('DATABASE_URL', `postgres://postgres:secret@${UNREACHABLE}/freshet`);
  const { code, err } = await freshet('versions', line);
  expect(code).toBe(1);
  expect(err).toContain(`Postgres at postgres://postgres@${UNREACHABLE}/freshet can not be reached`);
  expect(err).toContain('set DATABASE_URL');
});

test('Temporal that can not be reached is named, with what to do; status still tells what Postgres knows', async () => {
  await freshet('schedule', 'apply', file);
  vi.stubEnv('TEMPORAL_ADDRESS', UNREACHABLE);
  const started = await freshet('cycle', 'start', line);
  expect(started.code).toBe(1);
  expect(started.err).toContain(`Temporal at ${UNREACHABLE} can not be reached`);
  const status = await freshet('status', line);
  expect(status.code).toBe(0);
  expect(status.out).toContain('serving');
  expect(status.out).toContain(`Temporal at ${UNREACHABLE} can not be reached`);
});

test('a database without the schema says how to get it', async () => {
  const url = new URL(inject('databaseUrl'));
  url.pathname = '/postgres';
  vi.stubEnv('DATABASE_URL', url.href);
  expect((await freshet('status', line)).err).toContain('freshet migrate');
});

test('a cycle that is open although its run is over is told to who signals it, and found by doctor', async () => {
  await freshet('schedule', 'apply', file);
  const cycleId = await claim();
  const paused = await freshet('pause', line, '--reason', 'looking');
  expect(paused.code).toBe(1);
  expect(paused.err).toContain(`freshet rollback ${line} --direct`);
  const doctor = await freshet('doctor', '--json');
  expect(doctor.out).toContain(`cycle ${cycleId} is open but its run is over`);
  await closeCycle(database.db, { cycleId, outcome: 'aborted', reasons: [] });
});

test('rollback --direct takes the canary out without Temporal, and waits until no gateway serves it', async () => {
  const own = await createTestDatabase();
  try {
    vi.stubEnv('DATABASE_URL', own.url);
    vi.stubEnv('TEMPORAL_ADDRESS', UNREACHABLE);
    const { route } = await lineWithCandidate(own.db, { cycleId: 'c2' });
    const gateway = { processId: 'gateway-1', line: LINE, boot: 'b' };
    await registerProcess(own.db, gateway);
    await reportEpoch(own.db, { ...gateway, epoch: route.epoch });
    const rolledBack = freshet('rollback', LINE, '--direct', '--who', 'ada', '--reason', 'clicks fell', '--json');
    await vi.waitFor(async () => {
      expect((await currentRoute(own.db, LINE)).canary).toBeNull();
    });
    const { epoch } = await currentRoute(own.db, LINE);
    await reportEpoch(own.db, { ...gateway, epoch });
    const { code, out } = await rolledBack;
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      stable: 1,
      epoch: route.epoch + 1,
      cycle: 'c2',
      confirmed: true,
      waitingFor: [],
    });
    expect(await openCycle(own.db, LINE)).toBeNull();
    expect((await pendingAlerts(own.db)).map(({ alert }) => alert.title)).toContain(`${LINE} was rolled back by ada`);
  } finally {
    await own.drop();
  }
});

test('rollback --to takes a number or an alias of an earlier stable, and refuses others in words', async () => {
  const own = await createTestDatabase();
  try {
    vi.stubEnv('DATABASE_URL', own.url);
    vi.stubEnv('TEMPORAL_ADDRESS', UNREACHABLE);
    await lineWithCandidate(own.db, { cycleId: 'c2' });
    const unreachable = await freshet('rollback', LINE, '--reason', 'worse');
    expect(unreachable).toMatchObject({ code: 1, err: expect.stringContaining('--direct --reason') as string });

    const back = (to: string) => freshet('rollback', LINE, '--to', to, '--who', 'ada', '--reason', 'worse', '--json');
    // The running cycle can not be told, and finds out by itself.
    const [byNumber, same] = [await back('0'), await back('stable')];
    expect(JSON.parse(byNumber.out)).toMatchObject({ from: 1, stable: 0, cycle: 'c2', confirmed: true });
    expect(JSON.parse(same.out)).toMatchObject({ from: 0, stable: 0, cycle: null });
    await setAlias(own.db, { line: LINE, alias: 'good', version: 1, who: 'ada', why: 'a year of clicks' });
    expect(JSON.parse((await back('good')).out)).toMatchObject({ from: 0, stable: 1 });

    expect((await back('2')).err).toContain('version 2 of line "news-feed" never was stable: expected one of 1, 0');
    expect((await back('9')).err).toContain('no version 9');
    expect((await back('best')).err).toContain('its aliases are good (version 1)');
    const told = (await pendingAlerts(own.db)).map(({ alert }) => alert.fields);
    expect(told.at(-1)).toMatchObject({ who: 'ada', from: 0, to: 1 });
  } finally {
    await own.drop();
  }
});

test('status and doctor tell of incidents and of alerts that did not get through', async () => {
  const own = await createTestDatabase();
  try {
    vi.stubEnv('DATABASE_URL', own.url);
    vi.stubEnv('TEMPORAL_ADDRESS', UNREACHABLE);
    await lineWithCandidate(own.db, { cycleId: 'c2' });
    const incident = { action: 'open', key: `${LINE}/skipped/volume`, stage: 1 } as const;
    await enqueueAlert(own.db, { ...alert('a'), title: `${LINE} skipped a cycle`, incident });
    const refused = Object.assign(new Error('it answered 404'), { permanent: true });
    await deliverDue(own.db, { channels: [{ name: 'slack', deliver: () => Promise.reject(refused) }] });
    const status = await freshet('status', LINE);
    expect(status.out).toMatch(/incident +news-feed skipped a cycle, since \d{4}-/);
    expect(status.out).toMatch(/alerts +slack: 2 alerts refused .*it answered 404/);
    expect((await freshet('doctor')).out).toMatch(/warn +alerts +slack: 2 alerts refused/);
  } finally {
    await own.drop();
  }
});

test('a cycle is not started beside one that is running', async () => {
  await freshet('schedule', 'apply', file);
  const cycleId = await claim();
  const started = await freshet('cycle', 'start', line);
  expect(started).toMatchObject({
    code: 1,
    out: expect.stringContaining(`cycle ${cycleId} of ${line} is running`) as string,
  });
  await closeCycle(database.db, { cycleId, outcome: 'aborted', reasons: [] });
});

test('the installed command leaves with 1 and no stack on bad input', () => {
  const command = new URL('../../scripts/freshet.mjs', import.meta.url).pathname;
  const env = { ...process.env, DATABASE_URL: `postgres://${UNREACHABLE}/freshet` };
  const result = spawnSync(process.execPath, [command, 'status', line], { env, encoding: 'utf8' });
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('can not be reached');
  expect(result.stderr).not.toMatch(/\n\s+at /);
});

async function claim(): Promise<string> {
  const cycleId = `${line}/${randomBytes(4).toString('hex')}`;
  const run = { workflowId: `freshet-${line}-gone`, runId: '00000000-0000-4000-8000-000000000000' };
  await claimCycle(database.db, { line, cycleId, ...run, trigger: 'manual', isRunOver: () => Promise.resolve(false) });
  return cycleId;
}

function leaves(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
}
