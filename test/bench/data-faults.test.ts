import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FAULTS, runFault } from '../../bench/data-faults/corpus.ts';
import { benchConfig } from '../../bench/data-faults/line.ts';
import { openFeedLog, writeLake, type FeedLog } from '../../bench/data-faults/log.ts';
import {
  CYCLE_MS,
  HOUR_MS,
  openBench,
  runChain,
  type Bench,
  type TakenSnapshot,
} from '../../bench/data-faults/windows.ts';

const LOG = join(import.meta.dirname, '../../../shared/data/kuairand');

/** Of the corpus, one fault of each group of checks; the benchmark runs them all. */
const SOME = [
  'half-loaded: newest hour at 0.5',
  'loaded twice: the window, under new ids',
  'clock: all clocks set back by 20 min',
  'column renamed: tab to surface',
  'unit: duration in seconds',
  'missing values: author_id empty in 30 % of the rows',
  'encoding: user_active_degree in upper case',
  'label: flipped',
  'leaked column: play_time_ms',
  'train and holdout overlap: a tenth of the holdout in train',
];

test('the corpus has 60 faults and more, at least 45 of them strong, each with a name of its own', () => {
  const names = FAULTS.map(({ kind, name }) => `${kind}: ${name}`);
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBeGreaterThanOrEqual(60);
  expect(FAULTS.filter(({ strong }) => strong).length).toBeGreaterThanOrEqual(45);
  expect(SOME.filter((name) => !names.includes(name))).toEqual([]);
});

describe.skipIf(!existsSync(LOG))('two days and a half of KuaiRand', () => {
  let folder: string;
  let log: FeedLog;
  let bench: Bench;
  let chain: TakenSnapshot[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'freshet-faults-'));
    log = await openFeedLog(LOG);
    bench = openBench(folder, log.scorer);
    // A cold start over all there is, then five cycles.
    const times = Array.from({ length: 6 }, (_, cycle) => log.fromMs + 48 * HOUR_MS + cycle * CYCLE_MS);
    await log.db.run(`DELETE FROM log WHERE time_ms > ${String(times.at(-1))}`);
    const lake = join(folder, 'lake.parquet');
    await writeLake(log.db, { query: 'SELECT * FROM log', path: lake });
    chain = await runChain(bench, { config: benchConfig({ lake }), times });
  });
  afterAll(async () => {
    log.db.close();
    await rm(folder, { recursive: true, force: true });
  });

  test('clean windows pass every check', () => {
    const blocked = chain
      .slice(1)
      .flatMap(({ report }) => report.results.filter(({ status }) => status === 'block'))
      .map(({ check, message }) => `${check}: ${message}`);
    expect(blocked).toEqual([]);
  });

  test.concurrent.each(SOME)('%s is blocked by a check that names the cause', async (name) => {
    const fault = FAULTS.find((one) => `${one.kind}: ${one.name}` === name);
    if (fault === undefined) throw new Error('the corpus lacks it');
    const result = await runFault(bench, { log, fault, chain, index: 4 });
    expect(result.caught, `blocked by: ${result.blockedBy.join(', ')}`).toBe(true);
  });
});
