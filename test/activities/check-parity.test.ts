import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkParity } from '../../activities/check-parity.ts';
import type { DataDependencies } from '../../activities/dependencies.ts';
import { localFiles } from '../../activities/snapshot-files.ts';
import { openDuckDb, sqlText } from '../../data/duckdb.ts';
import { decideParity, type ParityVerdict } from '../../policy/parity.ts';
import { claimCycle } from '../../store/cycles.ts';
import { applyLine } from '../../store/lines.ts';
import { saveSnapshot } from '../../store/snapshots.ts';
import { Feed, feedConfig, HOUR, START, temporaryFolder } from '../data/feed.ts';
import { fixture } from '../data/evaluation/holdout-rows.ts';
import { createTestDatabase } from '../rig/database.ts';

const CYCLE = 'feed-1';
/** What `rising.onnx` answers. */
const RISING = '1 / (1 + exp(-(length + (topic % 5) / 1000)))';
const config = feedConfig({
  features: [
    { kind: 'categorical', name: 'topic' },
    { kind: 'numeric', name: 'length' },
  ],
});

let deps: DataDependencies;
let folder: string;
let snapshotId: string;
let trainFiles: string[];
let trainRows: number;
let modelSha256: string;
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const cleanup = (clean: () => Promise<void>): void => void cleanups.push(clean);
  const database = await createTestDatabase();
  cleanup(() => database.drop());
  folder = await temporaryFolder(cleanup);
  const feed = await Feed.open(config, cleanup);
  await feed.playTo(START + 8 * HOUR);
  const taken = await feed.snapshot({ cycleId: CYCLE });
  await applyLine(database.db, { config, who: 'test' });
  await claimCycle(database.db, {
    ...{ line: config.line, cycleId: CYCLE, workflowId: 'w', runId: 'r', trigger: 'test' },
    isRunOver: () => Promise.resolve(false),
  });
  await saveSnapshot(database.db, { ...taken, line: config.line, cycleId: CYCLE });
  deps = {
    ...{ db: database.db, artifacts: feed.artifacts, logger: pino({ level: 'silent' }), uiUrl: null },
    ...{ codeVersion: 'test', logRoot: feed.root, workRoot: folder, logTable: null, processEnv: {}, reportsUrl: null },
  };
  ({ snapshotId } = taken);
  trainFiles = (await localFiles(deps.artifacts, taken.manifest)).train;
  trainRows = taken.manifest.counts.train;
  modelSha256 = (await deps.artifacts.putFile(fixture('rising'))).sha256;
});

afterAll(async () => {
  for (const clean of cleanups.reverse()) await clean();
});

/** What a trainer would have predicted of the train part: an SQL expression of its columns. */
async function predictions(probability: string, where = 'true'): Promise<string> {
  const path = join(folder, 'predictions.parquet');
  const duck = await openDuckDb();
  await duck.run(
    `COPY (SELECT impression_id, CAST(${probability} AS FLOAT) AS probability FROM read_parquet([${trainFiles.map(sqlText).join(', ')}]) WHERE ${where})
     TO ${sqlText(path)} (FORMAT parquet)`,
  );
  duck.close();
  return (await deps.artifacts.putFile(path)).sha256;
}

async function verdict(predictionsSha256: string, model = modelSha256): Promise<ParityVerdict> {
  const parity = await checkParity(deps, { cycleId: CYCLE, snapshotId, modelSha256: model, predictionsSha256 });
  return decideParity({ parity, config: config.gate.parity });
}

describe('the parity of a challenger', () => {
  it('holds for a model that answers what its trainer says', async () => {
    const { kind, reasons } = await verdict(await predictions(RISING));

    expect(kind, reasons[0]?.message).toBe('pass');
    expect(reasons[0]?.numbers).toMatchObject({ rows: trainRows, predictions: trainRows });
  });

  it('rejects a graph that differs by 2e-4 on one row, and names it', async () => {
    const shifted = `${RISING} - if(impression_id = 'token40.0', 0.0002, 0)`;
    const { kind, reasons } = await verdict(await predictions(shifted));

    expect(kind).toBe('reject');
    expect(reasons[0]).toMatchObject({ code: 'parity.onnx', numbers: { impressionId: 'token40.0' } });
    expect(reasons[0]?.message).toMatch(/differ on \d+ rows by at most 0\.0002 /);
  });

  it('never passes a challenger of which nothing is known', async () => {
    expect(await verdict(await predictions(RISING, 'false'))).toMatchObject({
      kind: 'hold',
      reasons: [{ code: 'parity.no-predictions' }],
    });
    const nan = (await deps.artifacts.putFile(fixture('nan'))).sha256;
    expect(await verdict(await predictions('0.5'), nan)).toMatchObject({
      ...{ kind: 'hold', reasons: [{ code: 'parity.unreadable' }] },
    });
    expect(await verdict(await predictions("'nan'"))).toMatchObject({
      ...{ kind: 'reject', reasons: [{ code: 'parity.not-a-number' }] },
    });
  });

  it('fails, to be tried again, when an artifact is gone', async () => {
    await expect(verdict('0'.repeat(64))).rejects.toThrow(/is missing/);
  });
});
