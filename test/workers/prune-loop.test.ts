import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NO_TRAFFIC } from '../../policy/health.ts';
import { writeHealthSums } from '../../store/health-sums.ts';
import { applyLine } from '../../store/lines.ts';
import { startPruning } from '../../workers/prune-loop.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { LINE, lineConfig } from '../store/stage.ts';

let test: TestDatabase;
beforeEach(async () => {
  test = await createTestDatabase();
  await applyLine(test.db, { config: lineConfig(), who: 'test' });
});
afterEach(() => test.drop());

async function addOldRow(): Promise<void> {
  const row = {
    ...NO_TRAFFIC,
    ...{ line: LINE, processId: 'gateway-1', boot: 'b', bucketAtMs: 0, version: 1, arm: 'stable' as const, epoch: 1 },
    ...{ latencyBuckets: [], scoreDifferenceSum: 0, stableLatencyMsSum: 0, dropped: 0 },
  };
  await writeHealthSums(test.db, [row]);
}

const rowsLeft = async (): Promise<number> => {
  const { rowCount } = await test.db.query('select from health_sums');
  return rowCount ?? 0;
};

it('prunes again and again, logs what fails, and ends when it is stopped', async () => {
  const logged: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void logged.push(line) });
  await addOldRow();
  await test.db.query('alter table health_sums rename to away');
  const loop = startPruning({ db: test.db, logger, firstAfterMs: 0, everyMs: 5 });
  await expect.poll(() => logged.join(), { timeout: 30_000 }).toContain('health_sums');
  await test.db.query('alter table away rename to health_sums');
  await expect.poll(rowsLeft, { timeout: 30_000 }).toBe(0);
  await loop.stop();
  expect(logged.join()).toContain('old health sums were removed');
  await addOldRow();
  expect(await rowsLeft()).toBe(1);
});
