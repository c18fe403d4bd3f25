import { lineConfigSchema, type LineConfig, type LineConfigInput } from '../../../config/schema.ts';
import type { CheckContext, Reference, References } from '../../../data/checks/check.ts';
import { openDuckDb, sqlName, type Duck } from '../../../data/duckdb.ts';
import { profileColumns, profileRelation, type Profile } from '../../../data/profile/index.ts';
import type { SnapshotManifest } from '../../../data/snapshot.ts';

export const NO_REFERENCES: References = { training: null, season: null, earlierSeason: null, week: null, recent: [] };

/** A DuckDB with macros for made-up values: `u(i, k)` uniform in (0, 1) and `n(i, k)` standard normal, independent for each k. */
export async function openRig(): Promise<Duck> {
  const db = await openDuckDb();
  await db.run('CREATE MACRO u(i, k) AS (hash(i * 1000 + k) % 1000003 + 0.5) / 1000003.0');
  await db.run('CREATE MACRO n(i, k) AS sqrt(-2 * ln(u(i, k))) * cos(6.283185307 * u(i, k + 500))');
  return db;
}

/** SQL expressions over the row number `i`, by feature. */
export type Values = Record<string, string>;

/** Rows of features as a snapshot has them; `from` is the first row number, so that two samples can be independent. */
export function relationOf(config: LineConfig, input: { values: Values; rows: number; from: number }): string {
  const columns = config.features.map(({ name, kind }) => {
    const sql = input.values[name] ?? 'NULL';
    // A category's id is any number but 0.
    const value = kind === 'categorical' ? `CAST(coalesce(${sql}, 0) AS BIGINT)` : `CAST(${sql} AS FLOAT)`;
    return `${value} AS ${sqlName(name)}`;
  });
  return `(SELECT i AS impression_id, i AS event_time_ms, ${columns.join(', ')} FROM range(${input.from}, ${input.from + input.rows}) AS r(i))`;
}

export async function profileOf(
  db: Duck,
  config: LineConfig,
  input: { values: Values; rows: number; from: number },
): Promise<Profile> {
  const features = new Set(config.features.map(({ name }) => name));
  return profileRelation(db, {
    relation: relationOf(config, input),
    columns: profileColumns(config.features).filter(({ name }) => features.has(name)),
    keyColumn: 'impression_id',
    timeColumn: 'event_time_ms',
    sampleSize: 10_000,
  });
}

export function lineOf(features: LineConfigInput['features'], overrides: Partial<LineConfigInput> = {}): LineConfig {
  return lineConfigSchema.parse({ line: 'feed', features, ...overrides });
}

/** Only what upstream checks read of a manifest. */
export function manifestOf(
  config: LineConfig,
  input: { rows?: number; invalid?: number; columns?: Record<string, string>; kind?: string } = {},
): SnapshotManifest {
  const { rows = 1_000, invalid = 0, columns = {}, kind = 'lake' } = input;
  const manifest = {
    counts: { train: rows, holdout: 0 },
    features: config.features.map(({ name }) => ({ name, kind: config.features[0]?.kind, invalid })),
    source: { kind, columns: Object.entries(columns).map(([name, type]) => ({ name, type })) },
  };
  return manifest as unknown as SnapshotManifest;
}

export function referenceOf(profile: Profile | null, manifest: SnapshotManifest, toMs = 0): Reference {
  return { snapshotIds: ['before'], fromMs: 0, toMs, profile: profile as Profile, manifest, report: null };
}

export function contextOf(input: Partial<CheckContext> & Pick<CheckContext, 'config'>): CheckContext {
  return {
    manifest: manifestOf(input.config),
    db: undefined as unknown as Duck,
    profile: null,
    unlabelledProfile: null,
    references: NO_REFERENCES,
    rescore: null,
    ...input,
  };
}
