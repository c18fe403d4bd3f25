import type { Feature } from '../config/schema.ts';
import { DataError } from './data-error.ts';
import { sqlName, sqlText, type Duck } from './duckdb.ts';

type Joined = NonNullable<Extract<Feature, { kind: 'numeric' }>['joined']>;

const NUMBER_TYPE = /^(U?(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|BOOLEAN|DECIMAL.*)$/;

/** How a feature's training value is taken from a table: the feature, and the table made for it. */
export interface JoinedFeature {
  name: string;
  /** Columns `user_id, item_id` VARCHAR, `event_time_ms` BIGINT, unique together, and `value` DOUBLE. */
  table: string;
}

export function joinOf(feature: Feature): Joined | null {
  return feature.kind === 'numeric' ? (feature.joined ?? null) : null;
}

/**
 * Loads the declared column of each joined feature for event times in [fromMs, toMs]. With `knownAt` it is point in time:
 * the newest value of the user or item that was known strictly before the impression, for the impressions in table
 * `unique_rows`; else the value of the same user, item and event time. Of rows that share a key (and became known
 * together) the smallest value counts, so that the order of the file does not matter.
 *
 * A feature that the config has dropped is left out when its table can not be read: the drop must not be held up by it.
 *
 * @param input.log what `{log}` stands for in a path.
 * @throws DataError naming the file and the column when the file can not be read or a column is missing or no number.
 */
export async function loadJoinedFeatures(
  db: Duck,
  input: JoinRange & { features: readonly Feature[]; dropped?: readonly string[] },
): Promise<JoinedFeature[]> {
  const loaded: JoinedFeature[] = [];
  for (const feature of input.features) {
    const { name } = feature;
    const joined = joinOf(feature);
    if (joined === null) continue;
    const table = `joined_${String(loaded.length)}`;
    try {
      await loadJoined(db, { ...input, name, joined, table });
    } catch (error) {
      if (error instanceof DataError && input.dropped?.includes(name) === true) continue;
      throw error;
    }
    loaded.push({ name, table });
  }
  return loaded;
}

interface JoinRange {
  log: string | undefined;
  fromMs: number;
  toMs: number;
}

async function loadJoined(db: Duck, input: JoinRange & { name: string; joined: Joined; table: string }): Promise<void> {
  const { name, joined } = input;
  const path = tablePath({ name, path: joined.path, log: input.log });
  await requireColumns(db, { name, joined, path });
  const columns = { ...input, path };
  const load = joined.knownAt === undefined ? sameTime(columns) : newestBefore(columns, joined.knownAt);
  await reading({ name, path }, () => db.run(load));
}

interface JoinToLoad {
  joined: Joined;
  path: string;
  table: string;
  fromMs: number;
  toMs: number;
}

/** SQL that loads the values of the same user, item and time. */
function sameTime({ joined, path, table, fromMs, toMs }: JoinToLoad): string {
  const { userId = '', itemId = '', eventTimeMs = '' } = joined.on;
  const time = `CAST(${sqlName(eventTimeMs)} AS BIGINT)`;
  return `
    CREATE TABLE ${table} AS
    SELECT CAST(${sqlName(userId)} AS VARCHAR) AS user_id, CAST(${sqlName(itemId)} AS VARCHAR) AS item_id,
      ${time} AS event_time_ms, min(CAST(${sqlName(joined.column)} AS DOUBLE)) AS value
    FROM read_parquet(${sqlText(path)})
    WHERE ${time} BETWEEN ${String(fromMs)} AND ${String(toMs)}
    GROUP BY ALL`;
}

/** SQL that finds the newest value known before each impression. */
function newestBefore({ joined, path, table, toMs }: JoinToLoad, knownAt: string): string {
  const { userId, itemId } = joined.on;
  const keys = [
    ...(userId === undefined ? [] : [{ key: 'user_id', column: userId }]),
    ...(itemId === undefined ? [] : [{ key: 'item_id', column: itemId }]),
  ];
  const known = `CAST(${sqlName(knownAt)} AS BIGINT)`;
  const list = keys.map(({ key }) => key).join(', ');
  return `
    CREATE TABLE ${table} AS
    SELECT shown.*, known.value
    FROM (SELECT DISTINCT user_id, item_id, event_time_ms FROM unique_rows) AS shown
    ASOF JOIN (
      SELECT ${keys.map(({ key, column }) => `CAST(${sqlName(column)} AS VARCHAR) AS ${key}`).join(', ')}, ${known} AS known_ms,
        min(CAST(${sqlName(joined.column)} AS DOUBLE)) AS value
      FROM read_parquet(${sqlText(path)})
      WHERE ${known} < ${String(toMs)}
      GROUP BY ${list}, known_ms
    ) AS known
    ON ${keys.map(({ key }) => `shown.${key} = known.${key}`).join(' AND ')} AND shown.event_time_ms > known.known_ms`;
}

function tablePath(input: { name: string; path: string; log: string | undefined }): string {
  if (!input.path.includes('{log}')) return input.path;
  if (input.log === undefined) {
    throw new DataError(
      `joined feature "${input.name}" reads "${input.path}", but no log is being replayed: give its path to the data worker, or write a path without {log}`,
    );
  }
  return input.path.replaceAll('{log}', input.log);
}

async function requireColumns(db: Duck, input: { name: string; joined: Joined; path: string }): Promise<void> {
  const { name, joined, path } = input;
  const found = await reading({ name, path }, () => db.describe(`SELECT * FROM read_parquet(${sqlText(path)})`));
  const list = found.map((column) => column.name).join(', ');
  const { userId, itemId, eventTimeMs } = joined.on;
  const numbers = [joined.column, joined.knownAt ?? eventTimeMs];
  for (const wanted of [...numbers, userId, itemId]) {
    if (wanted === undefined) continue;
    const type = found.find((column) => column.name.toLowerCase() === wanted.toLowerCase())?.type;
    if (type === undefined) {
      throw new DataError(`joined feature "${name}": ${path} has no column "${wanted}"; it has ${list}`);
    }
    if (numbers.includes(wanted) && !NUMBER_TYPE.test(type)) {
      throw new DataError(`joined feature "${name}": column "${wanted}" of ${path} is ${type}, expected a number`);
    }
  }
}

async function reading<T>(source: { name: string; path: string }, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    const cause = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
    throw new DataError(
      `joined feature "${source.name}" can not be read from ${source.path} (${cause}); expected a Parquet file or a glob of them`,
      { cause: error },
    );
  }
}
