import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { addExtensions } from '../../../data/evaluation/holdout-extension.ts';
import { temporaryFolder } from '../feed.ts';

/** [impression, request, event time] of each row. */
type Row = [string, string, number];

async function writeRows(folder: string, files: Record<string, Row[]>): Promise<Record<string, string[]>> {
  const duck = await openDuckDb();
  const paths: Record<string, string[]> = {};
  for (const [name, rows] of Object.entries(files)) {
    const path = join(folder, `${name}.parquet`);
    const values = rows.map(
      (row) => `(${sqlText(row[0])}, ${sqlText(row[1])}, ${String(row[2])}, ${String(row[2] + 1)})`,
    );
    await duck.run(
      `COPY (FROM (VALUES ${values.join(', ')}) AS t(impression_id, request_id, event_time_ms, arrived_at_ms)) TO ${sqlText(path)} (FORMAT parquet)`,
    );
    paths[name] = [path];
  }
  duck.close();
  return paths;
}

async function idsOf(path: string): Promise<string[]> {
  const duck = await openDuckDb();
  const rows = await duck.rows(
    `SELECT impression_id AS id FROM read_parquet(${sqlText(path)})`,
    z.object({ id: z.string() }),
  );
  duck.close();
  return rows.map(({ id }) => id);
}

test('rows of extensions come once, by time; not what is held out, of before the split or of a trained request', async () => {
  const folder = await temporaryFolder();
  const {
    train = [],
    holdout = [],
    first = [],
    second = [],
  } = await writeRows(folder, {
    train: [['a', 'r1', 10]],
    holdout: [['b', 'r2', 20]],
    first: [
      ['d', 'r4', 40],
      ['b', 'r2', 20],
      ['c', 'r3', 30],
      ['early', 'r5', 15],
      ['torn', 'r1', 21],
    ],
    second: [
      ['e', 'r6', 50],
      ['d', 'r4', 40],
    ],
  });
  const path = join(folder, 'added.parquet');
  const given = { holdout, train, splitMs: 15, path };
  expect(await addExtensions({ ...given, extensions: [...first, ...second] })).toBe(3);
  expect(await idsOf(path)).toEqual(['c', 'd', 'e']);

  const nothing = { ...given, path: join(folder, 'nothing.parquet') };
  expect(await addExtensions({ ...nothing, extensions: holdout })).toBe(0);
  expect(await addExtensions({ ...nothing, extensions: [] })).toBe(0);
  await expect(access(nothing.path)).rejects.toThrow('ENOENT');
});
