import { afterAll, beforeAll, expect, test } from 'vitest';
import { openCycle } from '../../store/cycles.ts';
import { challengerDescent } from '../../store/parents.ts';
import { listSnapshots, passedSnapshots, saveReport, saveSnapshot } from '../../store/snapshots.ts';
import { readDriftAlarm } from '../../store/training-history.ts';
import { newestSnapshot } from '../../store/triggers.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { claim, LINE, lineWithStable } from './stage.ts';

let database: TestDatabase;
const [TRAINED, EXTENSION] = ['a'.repeat(64), 'b'.repeat(64)];

beforeAll(async () => {
  database = await createTestDatabase();
  const { db } = database;
  await lineWithStable(db);
  await claim(db, 'c2');
  const saved = async (snapshotId: string, manifest: Record<string, unknown>): Promise<void> => {
    await saveSnapshot(db, { snapshotId, line: LINE, cycleId: 'c2', manifest });
    await saveReport(db, { snapshotId, report: { verdict: 'pass', results: [] } });
  };
  const source = { firstEventMs: 0 };
  await saved(TRAINED, { eventNowMs: 1_100, maturityMs: 100, windowStartMs: 0, splitMs: 800, cutoffMs: 1_000, source });
  await saved(EXTENSION, {
    ...{ eventNowMs: 1_300, maturityMs: 100, windowStartMs: 1_000, splitMs: 1_000, cutoffMs: 1_200, source },
    extends: TRAINED,
  });
});
afterAll(() => database.drop());

test('a snapshot that only extended a holdout is on record, and nothing that trains, compares or counts goes by it', async () => {
  const { db } = database;
  expect((await listSnapshots(db, { line: LINE, limit: 9 })).map(({ snapshotId }) => snapshotId)).toEqual([
    ...[EXTENSION, TRAINED],
  ]);

  const cycle = await openCycle(db, LINE);
  expect(await challengerDescent(db, { cycleId: 'c2', parent: cycle?.parent ?? null })).toMatchObject({
    ...{ snapshotId: TRAINED, trainedOn: { fromMs: 0, toMs: 800 } },
  });
  expect(await passedSnapshots(db, { line: LINE, beforeMs: 9_999 })).toMatchObject([{ snapshotId: TRAINED }]);
  expect(await newestSnapshot(db, LINE)).toMatchObject({ cutoffMs: 1_000 });
  expect(await readDriftAlarm(db, LINE)).toMatchObject({ takenAtMs: 1_100 });
});
