import type { Duck } from '../duckdb.ts';
import { distinctOf, distinctRegisters, hashFingerprint } from './distinct.ts';
import { heavyHitters } from './heavy-hitters.ts';
import { countValues, sumMoments } from './moments.ts';
import type { ColumnProfile, Profile, ProfileSample } from './profile.ts';
import type { ProfileColumn } from './profile-columns.ts';
import { relationOf } from './relation.ts';
import { sampleRelation } from './sample.ts';

/**
 * Profiles rows. The same rows give the same profile, whatever their order and the number of threads. Missing are NULL and,
 * in numeric columns, what is not finite.
 *
 * The relation is read once a column and some times more, each time few columns: make it a table or files, not a costly
 * query. Memory depends on the number of columns and on `sampleSize`, not on the rows.
 *
 * @param input.relation name of a view or table, or a query in parentheses.
 * @param input.keyColumn what the sample is drawn by: an id of the row, never NULL.
 * @param input.timeColumn Unix ms.
 */
export async function profileRelation(
  db: Duck,
  input: {
    relation: string;
    columns: readonly ProfileColumn[];
    keyColumn: string;
    timeColumn: string;
    sampleSize: number;
  },
): Promise<Profile> {
  const relation = relationOf(input);
  const counted = await countValues(db, relation);
  const { rows, fromMs, toMs } = counted;
  const sample = await sampleRelation(db, { relation, rows, capacity: input.sampleSize });
  const moments = await sumMoments(db, { relation, counts: counted, centres: centresOf(sample) });
  const registers = await distinctRegisters(db, relation);

  const columns: Record<string, ColumnProfile> = {};
  for (const [index, { name, kind }] of relation.columns.entries()) {
    const count = counted.counts[index] ?? 0;
    const common = { count, missing: rows - count, distinct: registers[index] ?? new Uint8Array(0) };
    if (kind === 'numeric') {
      const range = counted.ranges.get(name) ?? { zeros: 0, min: null, max: null };
      const { mean = null, m2 = null } = moments.get(name) ?? {};
      columns[name] = { kind, ...common, ...range, mean, m2 };
    } else {
      // An error above 0, so that the sketch is asked.
      const distinct = distinctOf({ kind, ...common, heavy: [], heavyError: 1 });
      columns[name] = {
        kind,
        ...common,
        ...(await heavyHitters(db, { relation, field: `c${String(index)}`, distinct })),
      };
    }
  }
  return { formatVersion: 1, hash: await hashFingerprint(db), rows, fromMs, toMs, columns, sample };
}

function centresOf(sample: ProfileSample): Map<string, number> {
  const centres = new Map<string, number>();
  for (const [name, column] of Object.entries(sample.numeric)) {
    const values = column.filter((value) => !Number.isNaN(value));
    // Divided first: a sum of the largest doubles is none.
    if (values.length > 0)
      centres.set(
        name,
        values.reduce((sum, value) => sum + value / values.length, 0),
      );
  }
  return centres;
}
