import { availableParallelism } from 'node:os';
import { openDuckDb, sqlText, type Duck } from '../../data/duckdb.ts';
import { compareProfiles, parseProfile, profileRelation, serializeProfile } from '../../data/profile/index.ts';
import { COLUMNS } from './data.ts';

/** Profiles two files, as two snapshots would be, and compares them from what is kept of the first: `REFERENCE CURRENT`. */
const [reference = '', current = ''] = process.argv.slice(2);
const threads = availableParallelism();

async function profile(path: string): Promise<Uint8Array> {
  const db = await openDuckDb({ threads });
  try {
    await view(db, path);
    const input = { relation: 'snapshot', keyColumn: 'row', timeColumn: 'row', sampleSize: 10_000 };
    return serializeProfile(await profileRelation(db, { ...input, columns: COLUMNS }));
  } finally {
    db.close();
  }
}

async function view(db: Duck, path: string): Promise<void> {
  await db.run(
    `CREATE VIEW snapshot AS SELECT *, file_row_number AS row FROM read_parquet(${sqlText(path)}, file_row_number = true)`,
  );
}

const startedAt = performance.now();
const old = await profile(reference);
const profiled = performance.now();
const compared = compareProfiles(parseProfile(old), parseProfile(await profile(current)));
const seconds = (performance.now() - startedAt) / 1_000;
const drifted = compared.flatMap((column) =>
  column.kind !== 'impossible' && column.comparison.drifted ? [column.name] : [],
);
console.log(
  JSON.stringify({
    seconds,
    secondsAProfile: (profiled - startedAt) / 1_000,
    profileBytes: old.length,
    peakMiB: process.resourceUsage().maxRSS / 1_024,
    threads,
    columns: compared.length,
    drifted,
  }),
);
