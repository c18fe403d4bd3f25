import { openDuckDb, type Duck } from '../../../data/duckdb.ts';
import { type Profile, type ProfileColumn, profileRelation } from '../../../data/profile/index.ts';

export interface Row {
  id: string;
  time: number;
  n: number | null;
  c: string | null;
}

export const COLUMNS: ProfileColumn[] = [
  { name: 'n', kind: 'numeric' },
  { name: 'c', kind: 'categorical' },
];

/** Profiles rows given as plain values; NaN and infinities arrive as such. */
export async function profileRows(
  rows: readonly Row[],
  options: { sampleSize?: number; threads?: number } = {},
): Promise<Profile> {
  const db = await openDuckDb({ threads: options.threads ?? 1 });
  try {
    await fill(db, rows);
    return await profile(db, options.sampleSize);
  } finally {
    db.close();
  }
}

export async function profile(db: Duck, sampleSize = 1_000, columns = COLUMNS): Promise<Profile> {
  return profileRelation(db, { relation: 'rows', columns, keyColumn: 'id', timeColumn: 'time', sampleSize });
}

async function fill(db: Duck, rows: readonly Row[]): Promise<void> {
  await db.run('CREATE TABLE rows (id VARCHAR, time BIGINT, n DOUBLE, c VARCHAR)');
  const appender = await db.connection.createAppender('rows');
  for (const { id, time, n, c } of rows) {
    appender.appendVarchar(id);
    appender.appendBigInt(BigInt(time));
    if (n === null) appender.appendNull();
    else appender.appendDouble(n);
    if (c === null) appender.appendNull();
    else appender.appendVarchar(c);
    appender.endRow();
  }
  appender.closeSync();
}

/** Numbers in [0, 1), the same ones each time (a linear congruential generator: Park and Miller, CACM 1988). */
export function sequence(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

/** Rows with ties, gaps, zeros, negative numbers and a skewed category. */
export function someRows(count: number, seed = 1): Row[] {
  const random = sequence(seed);
  return Array.from({ length: count }, (_, index) => {
    const kind = random();
    const value = kind < 0.1 ? null : kind < 0.15 ? Number.NaN : kind < 0.3 ? 0 : Math.round(200 * random() - 80) / 4;
    return {
      id: `row-${String(seed)}-${String(index)}`,
      time: 1_650_000_000_000 + index,
      n: value,
      c: random() < 0.1 ? null : `value-${String(Math.floor(3_000 * random() ** 3))}`,
    };
  });
}
