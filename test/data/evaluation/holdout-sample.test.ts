import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { sampleUsers } from '../../../data/evaluation/holdout-sample.ts';
import { temporaryFolder } from '../feed.ts';

/** 20,000 rows of 2,000 users, ten each; a tenth has no user and goes by its request. */
async function writeRows(folder: string): Promise<string> {
  const path = join(folder, 'holdout.parquet');
  const duck = await openDuckDb();
  await duck.run(
    `COPY (SELECT CASE WHEN i % 10 = 0 THEN NULL ELSE 'user ' || (i % 2000) END AS user_id, 'request ' || (i // 2) AS request_id, i
       FROM range(20000) AS t(i)) TO ${sqlText(path)} (FORMAT parquet)`,
  );
  duck.close();
  return path;
}

async function read(path: string): Promise<{ user_id: string | null; request_id: string; i: number }[]> {
  const duck = await openDuckDb();
  const row = z.object({ user_id: z.string().nullable(), request_id: z.string(), i: z.number() });
  const rows = await duck.rows(`SELECT user_id, request_id, i::INT AS i FROM read_parquet(${sqlText(path)})`, row);
  duck.close();
  return rows;
}

test('whole users are kept, about as many rows as asked, in their order, the same ones each time', async () => {
  const folder = await temporaryFolder();
  const holdout = await writeRows(folder);
  const paths = [join(folder, 'a.parquet'), join(folder, 'b.parquet')] as const;
  const found = await sampleUsers({ paths: [holdout], maxRows: 5_000, path: paths[0] });
  await sampleUsers({ paths: [holdout], maxRows: 5_000, path: paths[1] });
  const kept = await read(paths[0]);
  expect(found).toEqual({ rows: 20_000, kept: kept.length });
  expect(kept.length).toBeGreaterThan(4_400);
  expect(kept.length).toBeLessThan(5_600);
  const rowsOf = new Map<string, number>();
  for (const { user_id: user } of kept) if (user !== null) rowsOf.set(user, (rowsOf.get(user) ?? 0) + 1);
  expect(new Set(rowsOf.values())).toEqual(new Set([10]));
  expect(kept.some((row) => row.user_id === null)).toBe(true);
  expect(kept.map(({ i }) => i)).toEqual(kept.map(({ i }) => i).sort((a, b) => a - b));
  expect(await read(paths[1])).toEqual(kept);
});

test('a holdout that fits is not touched', async () => {
  const folder = await temporaryFolder();
  const path = join(folder, 'sample.parquet');
  expect(await sampleUsers({ paths: [await writeRows(folder)], maxRows: 20_000, path })).toBeNull();
  expect(await sampleUsers({ paths: [], maxRows: 1_000, path })).toBeNull();
  await expect(access(path)).rejects.toThrow();
});
