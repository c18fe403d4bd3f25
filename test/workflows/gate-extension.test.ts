import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { snapshotManifest } from '../../activities/snapshot-files.ts';
import type { LineConfigInput } from '../../config/schema.ts';
import type { Evaluation } from '../../policy/evaluation.ts';
import { listDecisions } from '../../store/decisions.ts';
import { listSnapshots } from '../../store/snapshots.ts';
import { readVersion } from '../../store/versions.ts';
import { abortSignal, approveUpdate, pauseSignal } from '../../workflows/messages.ts';
import { runFreshet } from '../rig/freshet.ts';
import { servesAlone, untilStatus, type CycleHandle } from '../rig/installation.ts';
import { replay } from '../rig/workflow-code.ts';
import { createGateInstallation, type GateInstallation } from './gate-rig.ts';

const ann = { who: 'ann', reason: 'the editors want it' };

let freshet: GateInstallation;

beforeAll(async () => {
  freshet = await createGateInstallation();
  const { outcome, reasons } = await freshet.coldStart();
  expect(outcome, JSON.stringify(reasons)).toBe('promoted');
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await freshet.settle();
});

afterAll(async () => {
  await freshet.close();
});

function extending(
  extend: NonNullable<NonNullable<LineConfigInput['gate']>['extend']>,
  more: Partial<LineConfigInput> = {},
): Partial<LineConfigInput> {
  const gate = { tolerance: 0.03, thresholds: [], calibration: null, replicates: 200 };
  return { ...more, gate: { ...gate, onInconclusive: 'extend', extend, ...more.gate } };
}

/** A cycle whose snapshot is of hours 4 to 6, on which the gate can not decide. */
async function start(given: Partial<LineConfigInput>): Promise<CycleHandle> {
  await freshet.setHour(6.5);
  await freshet.configure(given);
  const handle = await freshet.startCycle();
  await untilStatus(handle, ({ phase }) => phase !== 'begin' && phase !== 'snapshot');
  return handle;
}

it('a wait for rows ends when the cycle is cancelled, and when a pause in it lasts too long', async () => {
  const cancelled = await start(extending({ every: '1h' }));
  const { waitingForRows, gate } = await untilStatus(cancelled, (status) => status.waitingForRows !== null);
  expect(gate).toMatchObject({ kind: 'inconclusive', extensions: 0, champion: 1, gain: { metric: 'auc' } });
  expect(waitingForRows).toMatchObject({ attempt: 1, of: 2, rows: gate?.rows, neededRows: gate?.neededRows });
  expect(waitingForRows?.neededRows).toBeGreaterThan(waitingForRows?.rows ?? Infinity);
  await cancelled.cancel();
  expect(await cancelled.result()).toMatchObject({ outcome: 'aborted', version: null, gate: { kind: 'inconclusive' } });

  const paused = await start(extending({ every: '1h' }, { canary: { pauseLimit: '300ms' } }));
  await untilStatus(paused, (status) => status.waitingForRows !== null);
  await paused.signal(pauseSignal, ann);
  expect(await paused.result()).toMatchObject({ outcome: 'aborted', reasons: [{ code: 'pause.expired' }] });

  for (const handle of [cancelled, paused]) await replay(handle);
  await servesAlone(freshet, 1);
});

it('rows that do not pass the checks are not used; what a person then decides is on record', async () => {
  const { db, line } = freshet;
  const asking = { approvalDeadline: '30s', approvalReminder: '100ms' };
  const handle = await start(extending({ every: '100ms', times: 1, then: 'ask' }, { gate: asking }));
  // The table ends at hour 7.
  await freshet.setHour(10);

  const { waitingForApproval, gate, cycleId } = await untilStatus(
    handle,
    (status) => status.waitingForApproval !== null,
  );
  const version = waitingForApproval?.version ?? -1;
  expect(gate).toMatchObject({ kind: 'inconclusive', extensions: 0 });
  await expect.poll(async () => (await alerts(cycleId)).length, { timeout: 30_000 }).toBeGreaterThan(2);
  expect((await alerts(cycleId))[0]).toContain(`freshet approve ${line} --version ${String(version)} --who NAME`);
  await handle.executeUpdate(approveUpdate, { args: [{ version, ...ann }] });
  await untilStatus(handle, ({ phase }) => phase === 'shadow');
  await handle.signal(abortSignal, ann);

  const { notes } = await handle.result();
  expect(notes.join('\n')).toMatch(/extension 1, after 100 ms: no rows to add: .*at most 2 h/);
  expect(await listDecisions(db, { line, version })).toMatchObject([
    { kind: 'approved', who: 'ann', why: ann.reason, cycleId, details: { gate: { kind: 'inconclusive' } } },
  ]);
  const { metrics, lineage } = await readVersion(db, { line, version });
  expect(metrics).toMatchObject({ extensions: [{ attempt: 1, used: false, rows: 0 }] });
  expect(lineage.extensions).toBeUndefined();
  await replay(handle);
});

it('decides on the holdout and the rows that came since; the next cycle trains on them', async () => {
  const { db, line } = freshet;
  const handle = await start(extending({ every: '300ms' }, { health: { z: 1_000 } }));
  await freshet.setHour(7.5);

  const { outcome, reasons, version, phases, gate } = await handle.result();

  expect(outcome, JSON.stringify(reasons)).toBe('promoted');
  expect(phases.map(({ phase }) => phase).slice(5, 11)).toEqual([
    ...['evaluate', 'gate', 'extend', 'evaluate', 'gate', 'register'],
  ]);
  expect(gate).toMatchObject({ kind: 'pass', extensions: 1 });
  const { metrics, lineage, trainingCutoffMs } = await readVersion(db, { line, version: version ?? -1 });
  const [extension] = lineage.extensions ?? [];
  const trained = await snapshotManifest(db, lineage.snapshotId ?? '');
  const added = await snapshotManifest(db, extension ?? '');
  expect(added).toMatchObject({ extends: lineage.snapshotId, windowStartMs: trained.cutoffMs, counts: { train: 0 } });
  const { evaluation } = metrics as { evaluation: Evaluation };
  expect(evaluation.overall.rows).toBe(trained.counts.holdout + added.counts.holdout);
  expect(metrics).toMatchObject({
    extensions: [{ used: true, snapshotId: extension, before: { kind: 'inconclusive' } }],
  });
  await replay(handle);
  vi.stubEnv('DATABASE_URL', freshet.env.DATABASE_URL);
  const { out } = await runFreshet('gate', 'explain', line);
  expect(out).toMatch(/The gate said pass[^]*extension 1 of the holdout: [\d,]+ more rows[^]*: promoted/);

  const next = await freshet.runCycle({ snapshot: { minRows: 1_000_000 } });
  const [snapshot] = await listSnapshots(db, { line, limit: 1 });
  const { windowStartMs, cutoffMs } = await snapshotManifest(db, snapshot?.snapshotId ?? '');
  expect(next.outcome).toBe('skipped');
  expect(snapshot?.cycleId).toBe(next.cycleId);
  expect([windowStartMs, trainingCutoffMs]).toEqual([trained.splitMs, trained.splitMs]);
  expect(cutoffMs).toBe(added.cutoffMs);
});

/** What was told of a version that waits, oldest first; also what is delivered already. */
async function alerts(cycleId: string | null): Promise<string[]> {
  const { rows } = await freshet.db.query<{ text: string }>(
    `select alert->>'text' as text from outbox where starts_with(dedup_key, $1) order by id`,
    [`${String(cycleId)}/approval/`],
  );
  return rows.map(({ text }) => text);
}
