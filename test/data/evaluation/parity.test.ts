import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { DataError } from '../../../data/data-error.ts';
import { compareWithTrainer, type ParityInput } from '../../../data/evaluation/parity.ts';
import { temporaryFolder } from '../feed.ts';
import { columnsModel, fixture, spec } from './holdout-rows.ts';

const ROWS = 30_000;
const FEATURES = spec('c1', 'x1', 'c2', 'x2');
/** What `columns.onnx` computes, in doubles. */
const TRUTH = `1 / (1 + exp(-(coalesce(x1, 0) + 2 * coalesce(x2, 0) + (c1 % 5) / 10 + (c2 % 5) / 100)))`;
/** Rows of a snapshot, and as many predictions of them as the contract asks for, evenly spread. */
const EACH_THIRD = `SELECT impression_id, CAST(${TRUTH} AS FLOAT) AS probability FROM train WHERE n % 3 = 0`;

let folder: string;
let input: ParityInput;

beforeAll(async () => {
  const cleanups: (() => Promise<void>)[] = [];
  folder = await temporaryFolder((clean) => cleanups.push(clean));
  const train = await write('train.parquet', 'SELECT * EXCLUDE (n) FROM train');
  const replay = await write(
    'replay.parquet',
    `SELECT impression_id || '-old' AS impression_id, * EXCLUDE (n, impression_id) FROM train WHERE n % 10 = 0`,
  );
  const predictions = await write('predictions.parquet', EACH_THIRD);
  input = { predictions, train: [train], replay: [replay], model: columnsModel, features: FEATURES };
  return async () => {
    for (const clean of cleanups) await clean();
  };
});

/** Writes a query over `train`, which has the rows by their number `n`, as a Parquet file. */
async function write(name: string, query: string): Promise<string> {
  const path = join(folder, name);
  const duck = await openDuckDb();
  await duck.run(`
    CREATE VIEW train AS
    SELECT n, 'token' || n || '.0' AS impression_id, CAST(n % 3 = 0 AS TINYINT) AS label, n % 11 AS c1, n % 13 AS c2,
      CASE WHEN n % 9 > 0 THEN CAST(sin(n) AS FLOAT) END AS x1, CAST(cos(3 * n) / 2 AS FLOAT) AS x2
    FROM range(${String(ROWS)}) AS numbers(n)`);
  await duck.run(`COPY (${query}) TO ${sqlText(path)} (FORMAT parquet)`);
  duck.close();
  return path;
}

let files = 0;
const predicted = async (query: string): Promise<ParityInput> => ({
  ...input,
  predictions: await write(`predictions-${String(++files)}.parquet`, query),
});

describe('comparing the trainer with model.onnx', () => {
  it('finds the same numbers on 10,000 rows, in rounding errors', async () => {
    const parity = await compareWithTrainer(input);

    expect(parity).toMatchObject({ problem: null, predictions: 10_000, rows: 10_000, notNumbers: 0, unknownRow: null });
    expect(parity.trainRows).toBe(ROWS);
    expect(parity.maxDelta).toBeLessThan(1e-6);
    expect(parity.meanDelta).toBeLessThan(parity.maxDelta ?? 0);
  });

  it('finds the row that differs, with both numbers', async () => {
    const parity = await compareWithTrainer(
      await predicted(
        `SELECT impression_id, CAST(probability + if(impression_id = 'token6.0', 0.0002, 0) AS FLOAT) AS probability FROM (${EACH_THIRD})`,
      ),
    );

    expect(parity.worst?.impressionId).toBe('token6.0');
    expect(parity.maxDelta).toBeCloseTo(2e-4, 6);
    expect((parity.worst?.trainer ?? 0) - (parity.worst?.onnx ?? 0)).toBeCloseTo(2e-4, 6);
    expect(parity.meanDelta).toBeLessThan(1e-6);
  });

  it('finds a graph that takes the columns in another order', async () => {
    const parity = await compareWithTrainer({ ...input, features: spec('c1', 'x2', 'c2', 'x1') });

    expect(parity.maxDelta).toBeGreaterThan(0.1);
  });

  it('knows replayed rows, and names one that the snapshot does not have', async () => {
    const replayed = `SELECT impression_id || '-old' AS impression_id, ${TRUTH} AS probability FROM train WHERE n % 10 = 0`;
    expect(await compareWithTrainer(await predicted(replayed))).toMatchObject({ rows: 3_000, unknownRow: null });

    const foreign = `${replayed} UNION ALL SELECT 'of-the-holdout', 0.5`;
    expect(await compareWithTrainer(await predicted(foreign))).toMatchObject({
      ...{ predictions: 3_001, rows: 3_000, unknownRow: 'of-the-holdout' },
    });
    expect(
      await compareWithTrainer(await predicted(`SELECT NULL::VARCHAR AS impression_id, 0.5::FLOAT AS probability`)),
    ).toMatchObject({
      ...{ predictions: 1, rows: 0, unknownRow: 'one without an id', maxDelta: null, worst: null },
    });
  });

  it('takes a row that occurs twice for either of its doubles, and the same row twice for one', async () => {
    const doubles = await write(
      'doubles.parquet',
      `SELECT * EXCLUDE (n) REPLACE (1 - label AS label) FROM train UNION ALL SELECT * EXCLUDE (n) REPLACE (x1 + 1 AS x1) FROM train`,
    );
    const parity = await compareWithTrainer({ ...input, replay: [doubles] });

    expect(parity).toMatchObject({ predictions: 10_000, rows: 10_000 });
    expect(parity.maxDelta).toBeLessThan(1e-6);
    const twice = await compareWithTrainer(
      await predicted(
        `SELECT 'token3.0' AS impression_id, ${TRUTH} AS probability FROM train WHERE n = 3 UNION ALL SELECT 'token3.0', 0.75`,
      ),
    );
    expect(twice).toMatchObject({ predictions: 2, rows: 2, worst: { impressionId: 'token3.0', trainer: 0.75 } });
  });

  it('looks at 10,000 rows or fewer, evenly spread, where the trainer gives more', async () => {
    const all = `SELECT impression_id, ${TRUTH} AS probability FROM train`;
    expect(await compareWithTrainer(await predicted(all))).toMatchObject({ predictions: 10_000, rows: 10_000 });
    expect(await compareWithTrainer(await predicted(`${all} WHERE n < 15000`))).toMatchObject({ predictions: 7_500 });
  });

  it.each([
    ['NaN', "'nan'::FLOAT", null],
    ['nothing', 'NULL::FLOAT', null],
    ['what is no probability', '1.5::FLOAT', null],
  ])('counts a trainer that says %s as no number', async (_, said, trainer) => {
    const parity = await compareWithTrainer(
      await predicted(
        `SELECT impression_id, if(impression_id = 'token30.0', ${said}, probability) AS probability FROM (${EACH_THIRD})`,
      ),
    );

    expect(parity).toMatchObject({
      rows: 10_000,
      notNumbers: 1,
      firstNotNumber: { impressionId: 'token30.0', trainer },
    });
    expect(parity.firstNotNumber?.onnx).toBeGreaterThan(0);
  });

  it('names the rows on which the model fails, and compares the others', async () => {
    const ids = await write('ids.parquet', `SELECT impression_id, c1 FROM train`);
    const throwing = { model: fixture('throwing'), features: spec('c1'), train: [ids], replay: [] };
    const table = `SELECT impression_id, CASE c1 WHEN 0 THEN 0.25 ELSE 0.75 END::FLOAT AS probability FROM train WHERE n < 13`;
    const parity = await compareWithTrainer({ ...(await predicted(table)), ...throwing });

    // Ids 0 and 1 have a row in its table, 2 to 10 have none.
    expect(parity).toMatchObject({ rows: 13, notNumbers: 9, firstNotNumber: { impressionId: 'token2.0', onnx: null } });
    expect(parity.maxDelta).toBe(0);
  });

  it('finds a model that answers NaN everywhere', async () => {
    const numbers = await write('numbers.parquet', `SELECT impression_id, x1 FROM train`);
    const query = `SELECT impression_id, 0.5::FLOAT AS probability FROM train WHERE n < 200`;
    const parity = await compareWithTrainer({
      ...(await predicted(query)),
      ...{ model: fixture('nan'), features: spec('x1'), train: [numbers], replay: [] },
    });

    expect(parity).toMatchObject({ rows: 200, notNumbers: 200, maxDelta: null, worst: null });
  });
});

describe('what can not be compared', () => {
  it('is a trainer that left no predictions', async () => {
    expect(await compareWithTrainer(await predicted(`${EACH_THIRD} AND false`))).toMatchObject({
      predictions: 0,
      rows: 0,
    });
  });

  it('is said, with what was expected', async () => {
    const torn = join(folder, 'torn.parquet');
    await writeFile(torn, 'PAR1 but no more');
    const problem = async (change: Partial<ParityInput>): Promise<string | null> =>
      (await compareWithTrainer({ ...input, ...change })).problem;

    expect(await problem({ predictions: torn })).toMatch(
      /^its predictions\.parquet can not be read .*expected a Parquet/s,
    );
    expect(await problem(await predicted(`SELECT impression_id, 1 AS score FROM train`))).toBe(
      'its predictions.parquet has the columns impression_id VARCHAR, score INTEGER; expected impression_id (string) and probability (float)',
    );
    expect(await problem({ model: torn })).toMatch(/model\.onnx can not be loaded: not a model/);
    expect(await problem({ model: fixture('wrong-output') })).toMatch(/model\.onnx can not be loaded: the model takes/);
  });

  it('is a failure, not a finding, when it is not the trainer’s', async () => {
    await expect(compareWithTrainer({ ...input, train: [join(folder, 'gone.parquet')] })).rejects.toThrow(
      /gone\.parquet/,
    );
    await expect(compareWithTrainer({ ...input, train: [] })).rejects.toBeInstanceOf(DataError);
  });
});
