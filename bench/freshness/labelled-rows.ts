import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import type { Feature, LineConfig } from '../../config/schema.ts';
import { sourceSection } from '../../config/source-section.ts';
import { DataError } from '../../data/data-error.ts';
import { openDuckDb, sqlName, sqlText, type Duck } from '../../data/duckdb.ts';
import { snapshotColumns } from '../../data/snapshot-columns.ts';
import { loadJoinedFeatures } from '../../data/snapshot-joins.ts';
import { labelRows } from '../../data/snapshot-labels.ts';
import { addFeatures, loadSource, removeDuplicates } from '../../data/snapshot-rows.ts';
import { sourceOf } from '../../data/sources/index.ts';
import { mapColumns } from '../../simulator/log-columns.ts';
import { describe, findLogFile, loadSideTables, relation, requireRows } from '../../simulator/log-files.ts';

/** Later than any row: all of a log is wanted. */
const END_MS = 253_402_300_800_000;
const HOUR_MS = 3_600_000;

export interface LabelledRows {
  /** Parquet: a snapshot's columns, by event time; one row for each impression that has its label. */
  path: string;
  /** Where the rows came from. */
  location: string;
  rows: number;
  /** Rows that repeated another one. */
  repeated: number;
  /** Rows that were too young at the end of the log for their label to be known. */
  immature: number;
}

/**
 * All labelled rows of a log in one file, read by the code that takes a line's snapshots: the same sources, ids, labels and
 * removal of duplicates. A line with a `log` section is read as the replayer would replay it, side tables included.
 *
 * Labels that come from feedback of their own are missing at the end of the log: rows younger than `label.maturity` by then
 * are left out.
 *
 * @param input.log a file, a glob or a folder; null for where the line's source says.
 * @param input.bootstrapMs what trains the first model; the rest is scored.
 * @throws DataError, or LogError, that says what the log lacks.
 */
export async function writeLabelledRows(input: {
  config: LineConfig;
  log: string | null;
  bootstrapMs: number;
  folder: string;
}): Promise<LabelledRows> {
  const db = await openDuckDb({ threads: 1, tempDirectory: join(input.folder, 'spill') });
  try {
    const config = await sourceConfig(db, input);
    const reach = { eventNowMs: END_MS, reachMs: 0 };
    const env = { logRoot: input.log ?? '', processEnv: environment(input.log) };
    const reading = await loadSource(db, { source: sourceOf(config, env), config, reach, dropped: [] });
    await removeDuplicates(db, { config, reach });
    const times = { ...reach, cutoffMs: END_MS, trueCutoffMs: END_MS, sinceMs: null, oldestMs: 0, windowStartMs: 0 };
    await labelRows(db, { label: config.label, times: { ...times, parent: null } });
    const cutoffMs = await maturedUntil(db, config);
    await db.run(
      `CREATE TABLE parts AS SELECT row, CASE WHEN event_time_ms <= ${String(cutoffMs)} THEN 'train' END AS file FROM unique_rows`,
    );
    const joined = await loadJoinedFeatures(db, {
      features: config.features,
      log: joinedLog(input),
      fromMs: 0,
      toMs: END_MS,
    });
    await addFeatures(db, { features: config.features, joined });
    const path = join(input.folder, 'rows.parquet');
    await write(db, { features: config.features, path });
    const location = input.config.log === undefined ? reading.location : (input.log ?? reading.location);
    const counts = await countRows(db);
    await requireEvaluable(db, input.bootstrapMs);
    return { path, location, ...counts };
  } finally {
    db.close();
  }
}

/** The line's config with a source that can be loaded: a lake where a log is replayed or another path is given. */
async function sourceConfig(
  db: Duck,
  { config, log, folder }: { config: LineConfig; log: string | null; folder: string },
): Promise<LineConfig> {
  const { source } = config;
  if (config.log !== undefined) {
    if (log !== null) return stageReplayedLog(db, { config, log, folder });
    throw new DataError(`the line "${config.line}" replays a log: say where it is with --log PATH`);
  }
  if (source.kind === 'eventLog' && log === null) {
    throw new DataError(`the line "${config.line}" reads the gateways' event log: say where it is with --log FOLDER`);
  }
  if (source.kind !== 'lake' || log === null) return config;
  if (source.path.includes('{data}') && isFolder(log)) return config;
  const path = findLogFile(log);
  const format = /\.(csv|tsv)(\.gz)?$/i.test(path) ? 'csv' : 'parquet';
  const delimiter = /\.tsv/i.test(path) ? '\t' : source.delimiter;
  return { ...config, source: { ...source, path, format, delimiter } };
}

/** `{data}` in the paths of a source is the folder given by `--log`, or the folder of that file. */
function environment(log: string | null): NodeJS.ProcessEnv {
  if (log === null) return process.env;
  return { ...process.env, FRESHET_DATA: isFolder(log) ? log : dirname(log) };
}

function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** Writes what the replayer would send as one table, and reads it as a lake. */
async function stageReplayedLog(
  db: Duck,
  { config, log, folder }: { config: LineConfig; log: string; folder: string },
): Promise<LineConfig> {
  const mapping = config.log;
  if (mapping === undefined) return config;
  const file = findLogFile(log);
  const columns = await describe(db.connection, file, 'log');
  await requireRows(db.connection, file);
  const tables = await loadSideTables({ connection: db.connection, mapping, folder: dirname(file) });
  const mapped = mapColumns({ path: file, mapping, features: config.features, columns, tables });
  const joins = tables.map(({ alias, key, as }) => {
    const owner = sqlName(as === 'user' ? mapping.user : mapping.item);
    return `LEFT JOIN ${alias} ON CAST(${alias}.${sqlName(key)} AS VARCHAR) = CAST(log.${owner} AS VARCHAR)`;
  });
  const place = (from: string, field: string): string =>
    `field_${String(mapped.fields.findIndex((found) => found.from === from && found.field === field))}`;
  const path = join(folder, 'log.parquet');
  await db.run(`
    COPY (
      SELECT ${mapped.user} AS user, ${mapped.item} AS item, ${mapped.timeMs} AS time, ${mapped.label} AS label, ${mapped.dwellMs} AS dwell
        ${mapped.fields.map(({ from, field, sql }) => `, ${sql} AS ${place(from, field)}`).join('')}
      FROM ${relation(file, 'log')} AS log ${joins.join(' ')}
    ) TO ${sqlText(path)} (FORMAT parquet)`);
  for (const { alias } of tables) await db.run(`DROP TABLE ${alias}`);
  return {
    ...config,
    features: config.features.map((feature) => ({
      ...feature,
      field: place(feature.from, feature.field ?? feature.name),
    })),
    source: sourceSection.parse({
      kind: 'lake',
      path,
      columns: { user: 'user', item: 'item', time: 'time', label: 'label', dwellMs: 'dwell' },
    }),
  };
}

/** What `{log}` stands for in the paths of joined features. */
function joinedLog({ config, log }: { config: LineConfig; log: string | null }): string | undefined {
  const wanted = config.features.some((feature) => feature.kind === 'numeric' && feature.joined !== undefined);
  return wanted && log !== null ? findLogFile(log) : undefined;
}

/** Rows up to here have their label. */
async function maturedUntil(db: Duck, { source, label }: LineConfig): Promise<number> {
  const apart = source.kind === 'eventLog' || source.feedback !== undefined || source.columns.labelAt !== undefined;
  if (!apart) return END_MS;
  const { last } = await db.row(
    'SELECT max(arrived_at_ms) AS last FROM unique_rows',
    z.object({ last: z.number().nullable() }),
  );
  return (last ?? 0) - label.maturity;
}

async function write(db: Duck, input: { features: readonly Feature[]; path: string }): Promise<void> {
  const columns = snapshotColumns(input.features).map(
    ({ name, type }) => `CAST(${sqlName(name)} AS ${type}) AS ${sqlName(name)}`,
  );
  await db.run(`
    COPY (SELECT ${columns.join(', ')} FROM snapshot_rows ORDER BY event_time_ms, impression_id)
    TO ${sqlText(input.path)} (FORMAT parquet, COMPRESSION zstd)`);
}

async function countRows(db: Duck): Promise<Pick<LabelledRows, 'rows' | 'repeated' | 'immature'>> {
  const count = z.number();
  return db.row(
    `SELECT count(*) FILTER (file IS NOT NULL) AS rows, count(*) FILTER (file IS NULL) AS immature,
       (SELECT count(*) FROM repeats) AS repeated FROM parts`,
    z.object({ rows: count, repeated: count, immature: count }),
  );
}

/** @throws DataError when nothing could be learnt from the bootstrap, or nothing be said of the rest. */
async function requireEvaluable(db: Duck, bootstrapMs: number): Promise<void> {
  const count = z.number();
  const { first, last } = await db.row(
    'SELECT min(event_time_ms) AS first, max(event_time_ms) AS last FROM snapshot_rows',
    z.object({ first: count.nullable(), last: count.nullable() }),
  );
  if (first === null || last === null) {
    throw new DataError('the log has no row with a label: look at its time and label columns, and at label.maturity');
  }
  const begin = String(first + bootstrapMs);
  const side = (name: string, where: string): string =>
    `count(*) FILTER (${where}) AS ${name}, coalesce(sum(label) FILTER (${where}), 0) AS ${name}_positive`;
  const found = await db.row(
    `SELECT ${side('before', `event_time_ms < ${begin}`)}, ${side('after', `event_time_ms >= ${begin}`)},
       count(DISTINCT user_id) FILTER (event_time_ms >= ${begin}) AS users FROM snapshot_rows`,
    z.object({ before: count, before_positive: count, after: count, after_positive: count, users: count }),
  );
  const hours = `${String(bootstrapMs / HOUR_MS)} h`;
  if (found.after === 0) {
    throw new DataError(
      `the log lasts ${((last - first) / HOUR_MS).toFixed(1)} h, so no row comes after a bootstrap of ${hours}: give a longer log, or fewer hours with --bootstrap HOURS`,
    );
  }
  const sides = [
    { what: `the first ${hours}`, rows: found.before, positive: found.before_positive },
    { what: `the time after the first ${hours}`, rows: found.after, positive: found.after_positive },
  ];
  for (const { what, rows, positive } of sides) {
    if (positive > 0 && positive < rows) continue;
    throw new DataError(
      `all ${String(rows)} rows of ${what} have the label ${positive === 0 ? '0' : '1'}, but AUC compares positive rows with negative ones: look at the label column in the line's config, or change --bootstrap HOURS`,
    );
  }
  if (found.users < 2) {
    throw new DataError(
      `the ${String(found.after)} rows after the bootstrap are of one user, but intervals weigh users: name the column that tells them apart in the line's config`,
    );
  }
}
