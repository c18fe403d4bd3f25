import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import type { LineConfigInput } from '../../config/schema.ts';
import { count } from '../../policy/figures.ts';
import { decideGate } from '../../policy/gate.ts';
import type { Trial } from '../../scripts/commands/gate.ts';
import { closeCycle, recordPhases } from '../../store/cycles.ts';
import { recordDecision } from '../../store/decisions.ts';
import { applyLine } from '../../store/lines.ts';
import { changed, defaults, first, interval, normal, part, throughJson, type Change } from '../policy/gate-cases.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { runFreshet } from '../rig/freshet.ts';
import { alone, claim, LINE, lineConfig, lineWithStable, move, moved, register, shadow } from '../store/stage.ts';

let database: TestDatabase;
let folder: string;

/**
 * Versions of a line: 1 as older builds recorded it, 2 passed, 3 was inconclusive, had its holdout extended and was approved
 * by ann, 4 was rejected on a threshold. Cycle c5 ended in its checks.
 */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'freshet-gate-'));
  database = await createTestDatabase();
  const { db } = database;
  const { epoch } = await lineWithStable(db);
  await judged('c2', { evaluation: { champion: 1 } });
  await close('c2', 'rejected', 'a test');
  const extension = { attempt: 1, used: true, snapshotId: 'e'.repeat(64), rows: 9_000, message: '9,000 more rows' };
  const before = { kind: 'inconclusive', reasons: [] };
  const version = await judged(
    'c3',
    {
      gain: normal(-0.001, 0.002),
      evaluation: {
        champion: 1,
        slices: [part('home', interval(-0.02, -0.01)), part('search', interval(0.01, 0.02)), part('rare', null)],
        notes: [{ code: 'evaluation.slice.column', message: 'slice age is left out: the snapshot has no column age' }],
      },
    },
    { extensions: [{ ...extension, before }] },
  );
  await recordDecision(db, {
    ...{ line: LINE, version, cycleId: 'c3', kind: 'approved', who: 'ann', why: 'looked at the slices' },
  });
  const { epoch: shadowed } = moved(await move(db, { cycleId: 'c3', next: shadow(1, version), expectedEpoch: epoch }));
  await move(db, { cycleId: 'c3', next: alone(1), expectedEpoch: shadowed, why: 'enough seen' });
  await close('c3', 'aborted', 'abort by ann: enough seen');
  await judged('c4', { evaluation: { champion: 1 }, challenger: { auc: interval(0.5, 0.52) } });
  await close('c4', 'rejected', 'worse');
  await claim(db, 'c5');
  await recordPhases(db, {
    cycleId: 'c5',
    phases: [{ phase: 'check', startedAt: '2026-01-05T00:00:00Z', endedAt: '2026-01-05T00:00:01Z' }],
  });
  await close('c5', 'skipped', 'the table is half loaded');
});
afterAll(async () => {
  await database.drop();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  vi.stubEnv('DATABASE_URL', database.url);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

/** Registers the version of a cycle with what was measured of it, and what the default gate says. */
async function judged(cycleId: string, change: Change, more: Record<string, unknown> = {}): Promise<number> {
  const evaluation = changed(change);
  const gate = decideGate({ evaluation, config: defaults, hasChampion: true });
  await claim(database.db, cycleId);
  const metrics = throughJson({ evaluation, gate, ...more });
  return (await register(database.db, cycleId, 1, { metrics })).version;
}

async function close(cycleId: string, outcome: 'rejected' | 'aborted' | 'skipped', message: string): Promise<void> {
  await closeCycle(database.db, { cycleId, outcome, reasons: [{ code: 'test', message }] });
}

function configFile(gate: LineConfigInput['gate'], more: Partial<LineConfigInput> = {}): string {
  const path = join(folder, 'line.yaml');
  // Every JSON document is YAML.
  writeFileSync(path, JSON.stringify({ line: LINE, features: [{ kind: 'numeric', name: 'age' }], gate, ...more }));
  return path;
}

async function trials(...args: string[]): Promise<Trial[]> {
  const { out, code } = await runFreshet('gate', 'try', ...args, '--json');
  expect(code).toBe(0);
  return (JSON.parse(out) as { trials: Trial[] }).trials;
}

test('gate explain shows every rule, both models, the worst slices, and what was done', async () => {
  const { out, code } = await runFreshet('gate', 'explain', 'c3');

  expect(code).toBe(0);
  expect(out).toContain('The gate said inconclusive');
  expect(out).toMatch(/nonInferior\.auc +inconclusive +Inconclusive: in auc the challenger gains -0\.001/);
  expect(out).toMatch(/thresholds\.auc +pass/);
  expect(out).toContain(
    '20,000 rows (900 positive) of 4,000 users in 2,000 requests, 1,200 of them without a positive',
  );
  expect(out).toMatch(/metric +challenger 3 +champion 1 +gain/);
  expect(out).toMatch(/auc +0\.7 \(0\.69 to 0\.71\) +0\.7 \(0\.69 to 0\.71\) +-0\.001 \(-0\.0043 to 0\.0023\)/);
  expect(out).toMatch(/calibration +1 \(0\.97 to 1\.03\) +1 \(0\.97 to 1\.03\) +-\n/);
  expect(out.indexOf('surface=home')).toBeLessThan(out.indexOf('surface=search'));
  expect(out).toContain('1 of 3 slices could not be measured');
  expect(out).toContain('slice age is left out: the snapshot has no column age');
  expect(out).toMatch(/extension 1 of the holdout: 9,000 more rows \(snapshot e{12}\)/);
  expect(out).toMatch(/approved by ann: looked at the slices\n.*epoch 3, test\n.*epoch 4, enough seen\n.*: aborted/);
  const data = JSON.parse((await runFreshet('gate', 'explain', 'c3', '--json')).out) as Record<string, unknown>;
  expect(data).toMatchObject({ version: 3, gate: { kind: 'inconclusive' }, decisions: [{ kind: 'approved' }] });
});

test('gate explain of a line is of its last cycle; one that ended before its gate says where and why', async () => {
  const { out } = await runFreshet('gate', 'explain', LINE);
  expect(out).toContain('cycle c5');
  expect(out).toMatch(
    /ended in phase check, before a final verdict, skipped because:\n +test: the table is half loaded/,
  );
});

test('gate explain of a version of an older build says what is not on record', async () => {
  const { out, code } = await runFreshet('gate', 'explain', 'cold');
  expect([code, out]).toEqual([0, expect.stringContaining('The verdict is not on record.')]);
});

test('gate try judges past versions by the gate of a config, and changes nothing', async () => {
  const lenient = configFile({ tolerance: 0.01, thresholds: [{ metric: 'auc', min: 0.45 }] });

  const found = await trials(lenient);

  expect(found.map(({ version, then, now }) => [version, then, now?.kind ?? null])).toEqual([
    [1, null, null],
    [2, 'pass', 'pass'],
    [3, 'inconclusive', 'pass'],
    [4, 'reject', 'pass'],
  ]);
  expect(found[0]?.why).toContain('nothing was measured');
  expect(found[1]?.why).toBe('every rule');
  const { out } = await runFreshet('gate', 'try', lenient, '--versions', '2..3');
  expect(out).toMatch(/version +champion +verdict then +now +decided by/);
  expect(out).toContain('1 of 2 verdicts would differ under');
});

test('gate try names what decides, the rows that would, and the rows that detect twice the tolerance', async () => {
  const strict = configFile({ tolerance: 0.002 });
  const [found] = await trials(strict, '--versions', '3');

  expect(found).toMatchObject({ version: 3, now: { kind: 'inconclusive' }, why: 'nonInferior.auc' });
  // Both grow with the inverse square of the margin: half as far from the limit takes four times the rows.
  const detecting = found?.detectingRows ?? NaN;
  expect(detecting).toBeGreaterThan(20_000);
  expect((found?.now?.neededRows ?? NaN) / detecting).toBeCloseTo(4, 3);
  const [often] = await trials(configFile({ tolerance: 0.002, onInconclusive: 'extend' }), '--versions', '3');
  // Three looks: (z.9833 + z.85)^2 over (z.95 + z.85)^2.
  expect((often?.detectingRows ?? NaN) / detecting).toBeCloseTo(1.3929, 3);
  const { out } = await runFreshet('gate', 'try', configFile({ tolerance: 0.002 }), '--versions', 'v3,stable');
  expect(out).toMatch(
    new RegExp(`3 +1 +inconclusive +inconclusive +nonInferior\\.auc +20,000 +[\\d,]+ +${count(detecting)}`),
  );
});

test('gate try holds where what a rule needs was not measured then', async () => {
  const asking = configFile(
    { slices: [{ slice: 'country' }], latency: [{ candidates: 500, maxP99: '10ms' }] },
    { evaluation: { slices: [{ name: 'country', column: 'arm' }] } },
  );
  const [found] = await trials(asking, '--versions', '2');

  expect(found).toMatchObject({ then: 'pass', now: { kind: 'hold' }, why: 'slices.country.auc, latency.500.p99' });
  const { out } = await runFreshet('gate', 'try', asking, '--versions', '2');
  expect(out).toMatch(/2: The evaluation has no slice country/);
});

test("a line's first challenger is judged without a champion", async () => {
  const line = 'young-feed';
  const { db } = database;
  const config = { ...lineConfig(), line };
  await applyLine(db, { config, who: 'test' });
  const path = configFile({}, { line });
  expect((await runFreshet('gate', 'try', path)).out).toBe(`${line} has no version that was trained yet`);
  expect((await runFreshet('gate', 'explain', line)).err).toBe(`${line} has had no cycle yet`);
  expect(decideGate({ evaluation: changed(first), config: defaults, hasChampion: false }).kind).toBe('pass');
});

test.each([
  [['explain', 'nothing'], /no cycle and no model line is called "nothing"/],
  [['try', '/nowhere.yaml'], /no such file/],
  [['try', 'CONFIG', '--versions', '3..'], /expected such as 3,5 or 3\.\.9 or stable/],
  [['try', 'CONFIG', '--versions', '4..2'], /4 is newer than 2/],
  [['try', 'CONFIG', '--versions', '77'], /no version 77/],
  [['try', 'CONFIG', '--versions', '0'], /--versions 0: none of them was trained/],
])('freshet gate %j is refused with one message and code 1', async (args, message) => {
  const config = configFile({});
  const { code, err } = await runFreshet('gate', ...args.map((arg) => (arg === 'CONFIG' ? config : arg)));
  expect([code, err]).toEqual([1, expect.stringMatching(message)]);
  expect(err).not.toMatch(/\n\s+at /);
});
