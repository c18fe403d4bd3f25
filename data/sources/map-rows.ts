import { z } from 'zod';
import type { Feature } from '../../config/schema.ts';
import type { FeedbackColumns, ImpressionColumns, SourceTimes } from '../../config/source-section.ts';
import { DataError } from '../data-error.ts';
import { sqlName, sqlText, type Duck } from '../duckdb.ts';
import { makeCategoryIds } from './category-ids.ts';
import { elementType, flagOf, idOf, kindOf, textOf, timeMsOf, type Value } from './column-sql.ts';
import { fieldOf, type FoundColumns } from './source-columns.ts';
import { knownAtType } from './source-tables.ts';

/** Raw rows in DuckDB, and how the config reads them. */
export interface RawRows {
  /** A table or view with at least the columns found. */
  relation: string;
  /** For messages. */
  where: string;
  line: string;
  found: FoundColumns;
  times: SourceTimes;
}

/** Columns of `source_rows` that only its labels are made of. */
const LABEL_COLUMNS = ['bad_label', 'bad_list', 'label', 'label_known_ms', 'dwell_ms'] as const;

/**
 * Makes `source_rows` and, from the columns that hold labels, `source_feedback`, as {@link DataSource} says. A row without
 * a user, item or time, with a label that is neither 0 nor 1, or with lists of different lengths has a NULL id.
 *
 * @throws DataError when a column can hold no feature, or when no row at all could be read for one of these reasons.
 */
export async function mapRows(
  db: Duck,
  raw: RawRows & { columns: ImpressionColumns; features: readonly Feature[] },
): Promise<void> {
  const { columns } = raw;
  const value = valuesOf(raw);
  requirePlain(raw, value);
  const ids = await makeIds(db, raw, value);
  const made = { ...rowColumns(raw, value), ...featureColumns(raw, value, ids) };
  const numbered = `(SELECT *, row_number() OVER () AS freshet_row FROM ${flat(raw)})`;
  await db.run(`
    CREATE TABLE source_rows AS
    SELECT freshet_row AS row,
      CASE WHEN user_id IS NOT NULL AND item_id IS NOT NULL AND event_time_ms IS NOT NULL AND NOT bad_label AND NOT bad_list
        THEN coalesce(given_id, md5(concat_ws(chr(31), user_id, item_id, event_time_ms, request_id))) END AS impression_id,
      request_id, ${sqlText(raw.line)} AS line, user_id, item_id, event_time_ms, arrived_at_ms, position, version, arm,
      propensity, score, features, known_at_ms, ${LABEL_COLUMNS.join(', ')}
    FROM (
      SELECT freshet_row, ${Object.entries(made)
        .map(([name, sql]) => `${sql} AS ${name}`)
        .join(', ')}
      FROM ${numbered} AS flat
      ${ids.map(({ table, text: key }) => `LEFT JOIN ${table} ON ${table}.freshet_text = ${key}`).join(' ')}
    )`);
  for (const { table } of ids) await db.run(`DROP TABLE ${table}`);
  await requireReadable(db, { raw, columns });
  await makeLabelFeedback(db, raw.line);
  for (const column of LABEL_COLUMNS) await db.run(`ALTER TABLE source_rows DROP COLUMN ${column}`);
}

/** SQL of a row's columns by name, but for its features. */
function rowColumns(
  { columns, times }: RawRows & { columns: ImpressionColumns },
  value: ValueOf,
): Record<string, string> {
  const user = idOf(value(columns.user));
  const time = timeMsOf(value(columns.time), times);
  const timeOf = (name: string | undefined, otherwise: string): string =>
    name === undefined ? otherwise : timeMsOf(value(name), times);
  const id = text(columns.impressionId, value);
  const listed = columns.candidates !== undefined;
  // An impression with a list is one request, by its id or by its user and time.
  const listRequest = `coalesce(${id}, md5(concat_ws(chr(31), 'request', ${user}, ${time})))`;
  const label = labelOf(columns, value);
  const knownMs = timeOf(columns.labelAt, `${time} + ${String(times.labelDelay)}`);
  // A click that is known at no time would count as none.
  const unknown =
    columns.labelAt === undefined ? 'false' : `coalesce((${label.sql}) = 1, false) AND (${knownMs}) IS NULL`;
  return {
    user_id: user,
    item_id: idOf(value(columns.candidates ?? columns.item ?? '')),
    event_time_ms: time,
    arrived_at_ms: timeOf(columns.arrivedAt, time),
    request_id: listed && columns.requestId === undefined ? listRequest : text(columns.requestId, value),
    given_id: listed ? `${id} || '.' || freshet_place` : id,
    position:
      listed && columns.position === undefined
        ? 'CAST(freshet_place AS INTEGER)'
        : number(columns.position, 'INTEGER', value),
    version: number(columns.version, 'INTEGER', value),
    arm: text(columns.arm, value),
    propensity: number(columns.propensity, 'DOUBLE', value),
    score: number(columns.score, 'DOUBLE', value),
    label: label.sql,
    bad_label: `(${label.bad}) OR (${unknown})`,
    bad_list: listed ? 'freshet_bad_list' : 'false',
    label_known_ms: knownMs,
    dwell_ms: number(columns.dwellMs, 'DOUBLE', value),
  };
}

/** SQL of the features, and of when those became known that say so. */
function featureColumns(
  raw: RawRows & { features: readonly Feature[] },
  value: ValueOf,
  ids: readonly CategoryIds[],
): { features: string; known_at_ms: string } {
  const packed = (fields: string[]): string => `struct_pack(${fields.join(', ')})`;
  const known = raw.features.flatMap(({ name, knownAt }) =>
    knownAt === undefined ? [] : [`${sqlName(name)} := ${timeMsOf(value(knownAt), raw.times)}`],
  );
  return {
    features: packed(
      raw.features.map((feature) => `${sqlName(feature.name)} := ${featureText(feature, { raw, value, ids })}`),
    ),
    known_at_ms: known.length === 0 ? `CAST(NULL AS ${knownAtType([])})` : packed(known),
  };
}

/** Adds feedback of its own table to `source_feedback`. What finds no impression keeps an id that no impression has. */
export async function mapFeedback(db: Duck, raw: RawRows & { columns: FeedbackColumns }): Promise<void> {
  const { columns, times } = raw;
  const value = (name: string): Value => plainValue(raw, name);
  const time = timeMsOf(value(columns.time), times);
  const key = `${text(columns.requestId, value)} AS request_id, ${text(columns.item, value)} AS item_id`;
  const byId = columns.impressionId !== undefined;
  await db.run(`
    INSERT INTO source_feedback
    SELECT CASE WHEN event_time_ms IS NOT NULL AND arrived_at_ms IS NOT NULL AND event IN ('click', 'dwell')
        THEN ${byId ? 'given_id' : `coalesce(impression_id, md5(concat_ws(chr(31), 'no impression', request_id, item_id)))`} END,
      ${sqlText(raw.line)}, event, value, event_time_ms, arrived_at_ms
    FROM (
      SELECT ${byId ? `${text(columns.impressionId, value)} AS given_id` : key}, ${time} AS event_time_ms,
        ${columns.arrivedAt === undefined ? time : timeMsOf(value(columns.arrivedAt), times)} AS arrived_at_ms,
        ${columns.event === undefined ? `'click'` : `lower(${textOf(value(columns.event))})`} AS event,
        ${number(columns.value, 'DOUBLE', value)} AS value
      FROM ${raw.relation}
    ) ${byId ? '' : `LEFT JOIN (SELECT request_id, item_id, min(impression_id) AS impression_id FROM source_rows GROUP BY ALL) USING (request_id, item_id)`}`);
}

type ValueOf = (name: string) => Value;

function plainValue(raw: RawRows, name: string): Value {
  const column = raw.found.get(name);
  if (column === undefined) throw new Error(`column "${name}" of the ${raw.where} was not looked for`);
  return { sql: sqlName(column.name), type: column.type };
}

/** A column's value in a row; where a row is one of several candidates, the element of a list. */
function valuesOf(raw: RawRows & { columns: ImpressionColumns }): ValueOf {
  return (name) => {
    const value = plainValue(raw, name);
    if (raw.columns.candidates === undefined || kindOf(value.type) !== 'list') return value;
    return { sql: `${value.sql}[freshet_place + 1]`, type: elementType(value.type) };
  };
}

/** The rows, one for each candidate; a record without any stays one row. */
function flat(raw: RawRows & { columns: ImpressionColumns }): string {
  const { candidates, clicked } = raw.columns;
  if (candidates === undefined) return raw.relation;
  const list = plainValue(raw, candidates);
  const others = [...raw.found].filter(
    ([name, { type }]) => name !== candidates && name !== clicked && kindOf(type) === 'list',
  );
  const torn = others.map(([, { name }]) => `coalesce(len(${sqlName(name)}) <> len(${list.sql}), false)`);
  return `(SELECT *, unnest(range(greatest(coalesce(len(${list.sql}), 0), 1))) AS freshet_place, ${['false', ...torn].join(' OR ')} AS freshet_bad_list FROM ${raw.relation})`;
}

/** @throws DataError when a column holds lists or records where one value is expected. */
function requirePlain(
  raw: RawRows & { columns: ImpressionColumns; features: readonly Feature[] },
  value: ValueOf,
): void {
  const { candidates: _candidates, clicked: _clicked, ...roles } = raw.columns;
  const uses = [
    ...Object.entries(roles).map(([role, column]) => ({ by: `source.columns.${role}`, column })),
    ...raw.features.map((feature) => ({ by: `feature "${feature.name}"`, column: fieldOf(feature) })),
  ];
  for (const { by, column } of uses) {
    if (column === undefined || !raw.found.has(column)) continue;
    const { type } = value(column);
    const kind = kindOf(type);
    if (kind !== 'list' && kind !== 'other') continue;
    const advice = kind === 'list' ? '; a list goes with source.columns.candidates, and has their length' : '';
    throw new DataError(
      `column "${column}" (${by}) of the ${raw.where} is ${type}, expected text, numbers or booleans${advice}`,
    );
  }
}

interface CategoryIds {
  feature: string;
  table: string;
  /** SQL of the text that the table is joined on. */
  text: string;
}

async function makeIds(
  db: Duck,
  raw: RawRows & { columns: ImpressionColumns; features: readonly Feature[] },
  value: ValueOf,
): Promise<CategoryIds[]> {
  const ids: CategoryIds[] = [];
  for (const feature of raw.features) {
    if (feature.kind !== 'categorical' || !raw.found.has(fieldOf(feature))) continue;
    const found = value(fieldOf(feature));
    const table = `category_ids_${String(ids.length)}`;
    await makeCategoryIds(db, { name: table, value: found, from: flat(raw) });
    ids.push({ feature: feature.name, table, text: textOf(found) });
  }
  return ids;
}

/** What the gateway would have logged, as text. */
function featureText(
  feature: Feature,
  { raw, value, ids }: { raw: RawRows; value: ValueOf; ids: readonly CategoryIds[] },
): string {
  if (!raw.found.has(fieldOf(feature))) return 'CAST(NULL AS VARCHAR)';
  if (feature.kind === 'numeric') return `nullif(${textOf(value(fieldOf(feature)))}, '')`;
  const table = ids.find((made) => made.feature === feature.name)?.table ?? '';
  return `coalesce(CAST(${table}.freshet_id AS VARCHAR), '0')`;
}

function labelOf(columns: ImpressionColumns, value: ValueOf): { sql: string; bad: string } {
  if (columns.clicked !== undefined && columns.candidates !== undefined) {
    return { sql: clickedOf(columns.clicked, columns.candidates, value), bad: 'false' };
  }
  if (columns.label === undefined) return { sql: 'CAST(NULL AS INTEGER)', bad: 'false' };
  const label = value(columns.label);
  const flag = flagOf(label);
  return { sql: flag, bad: `(${flag}) IS NULL AND nullif(trim(${textOf(label)}), '') IS NOT NULL` };
}

/** 1 where the candidate is among the clicked; `clicked` may be a list, or the only one. */
function clickedOf(clicked: string, candidates: string, value: ValueOf): string {
  const item = idOf(value(candidates));
  const found = value(clicked);
  // A list is looked up whole: its elements do not stand beside the candidates.
  const whole = found.sql.replace(/\[freshet_place \+ 1\]$/, '');
  if (whole === found.sql) return `CAST(${item} = ${idOf(found)} AS INTEGER)`;
  const id = idOf({ sql: 'freshet_clicked', type: found.type });
  return `CAST(list_contains(list_transform(${whole}, lambda freshet_clicked: ${id}), ${item}) AS INTEGER)`;
}

function text(name: string | undefined, value: ValueOf): string {
  return name === undefined ? 'CAST(NULL AS VARCHAR)' : idOf(value(name));
}

function number(name: string | undefined, type: 'INTEGER' | 'DOUBLE', value: ValueOf): string {
  return name === undefined ? `CAST(NULL AS ${type})` : `TRY_CAST(${value(name).sql} AS ${type})`;
}

/** A label is known from a time on, but never before its row could be seen. */
async function makeLabelFeedback(db: Duck, line: string): Promise<void> {
  const known = `label_known_ms AS event_time_ms, greatest(label_known_ms, arrived_at_ms) AS arrived_at_ms`;
  const feedback = (event: string, value: string, where: string): string => `
    SELECT impression_id, ${sqlText(line)} AS line, '${event}' AS event, CAST(${value} AS DOUBLE) AS value, ${known}
    FROM source_rows WHERE impression_id IS NOT NULL AND label_known_ms IS NOT NULL AND ${where}`;
  await db.run(`
    CREATE TABLE source_feedback AS
    ${feedback('click', 'NULL', 'label = 1')} UNION ALL ${feedback('dwell', 'dwell_ms', 'dwell_ms > 0')}`);
}

/** Some rows that can not be read are counted; when none can, the config or the column is wrong. */
async function requireReadable(
  db: Duck,
  { raw, columns }: { raw: RawRows; columns: ImpressionColumns },
): Promise<void> {
  const count = z.number();
  const seen = await db.row(
    `SELECT count(*) AS rows, count(event_time_ms) AS times, count(user_id) AS users, count(item_id) AS items,
       count(arrived_at_ms) AS arrivals, count(*) FILTER (NOT bad_label) AS labels,
       count(*) FILTER (label = 1) AS clicks, count(*) FILTER (label = 1 AND label_known_ms IS NOT NULL) AS known, count(*) FILTER (NOT bad_list) AS lists
     FROM source_rows`,
    z.object({
      rows: count,
      times: count,
      users: count,
      items: count,
      arrivals: count,
      labels: count,
      clicks: count,
      known: count,
      lists: count,
    }),
  );
  if (seen.rows === 0) return;
  const timeUnit = `a time from the year 2000 on, read as ${raw.times.timeUnit}: correct source.timeUnit, or the column`;
  const item = columns.candidates ?? columns.item ?? '';
  const empty = [
    { readable: seen.times, column: columns.time, by: 'time', expected: timeUnit },
    { readable: seen.arrivals, column: columns.arrivedAt ?? columns.time, by: 'arrivedAt', expected: timeUnit },
    { readable: seen.users, column: columns.user, by: 'user', expected: 'an id' },
    {
      readable: seen.items,
      column: item,
      by: columns.candidates === undefined ? 'item' : 'candidates',
      expected: 'ids',
    },
    {
      readable: columns.labelAt === undefined || seen.clicks === 0 ? seen.rows : seen.known,
      column: columns.labelAt ?? '',
      by: 'labelAt',
      expected: timeUnit,
    },
    { readable: seen.labels, column: columns.label ?? '', by: 'label', expected: '0 or 1' },
  ].find(({ readable }) => readable === 0);
  if (empty !== undefined) {
    const example = await db.row(
      `SELECT any_value(CAST(${plainValue(raw, empty.column).sql} AS VARCHAR)) AS example FROM ${raw.relation}`,
      z.object({ example: z.string().nullable() }),
    );
    throw new DataError(
      `column "${empty.column}" (source.columns.${empty.by}) of the ${raw.where} can be read in none of ${String(seen.rows)} rows (for instance ${example.example === null ? 'nothing' : `"${example.example}"`}); expected ${empty.expected}`,
    );
  }
  if (seen.lists === 0) {
    throw new DataError(
      `the lists of the ${raw.where} have another length than "${item}" in every row: features that are lists must have one element for each candidate`,
    );
  }
}
