import { dirname } from 'node:path';
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import type { LineConfig } from '../config/schema.ts';
import type { RawValues } from './gateway-client.ts';
import { columnOf, LogError, mapColumns, type LogMapping, type MappedColumns, type SideTable } from './log-columns.ts';
import { asText, describe, findLogFile, loadSideTables, relation, requireRows } from './log-files.ts';

/** What the log says about one candidate of a request. */
export interface LoggedOutcome {
  clicked: boolean;
  /** Null where the log has no dwell time. */
  dwellMs: number | null;
}

/** The rows of a log with the same user and time: what one request showed. */
export interface LoggedRequest {
  eventTimeMs: number;
  userId: string;
  user: RawValues;
  context: RawValues;
  /** In the log's order, each item once. */
  candidates: { id: string; features: RawValues }[];
  outcomes: Map<string, LoggedOutcome>;
  /** Rows left out because their item was in the request already. */
  repeatedItems: number;
}

/** A log opened for replay. */
export interface LogReader {
  /** The file, where a folder was given. */
  readonly path: string;
  readonly rows: number;
  /** Rows without user, item, time, or label: they can not be sent. */
  readonly unusableRows: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Requests with `fromMs <= time < toMs`, by time and, within it, in the log's order. */
  read(fromMs: number, toMs: number): Promise<LoggedRequest[]>;
  close(): void;
}

/** Before this a time in "milliseconds" is more likely in seconds (1973). */
const EARLIEST_MS = 1e11;

/**
 * Opens a log and checks that it has all that the config asks of it, so that what is wrong is said before traffic flows.
 *
 * @throws LogError for a log that can not be read, is empty, lacks a column or has labels other than 0 and 1.
 */
export async function openLog({
  path,
  config,
}: {
  path: string;
  config: Pick<LineConfig, 'line' | 'features' | 'log'>;
}): Promise<LogReader> {
  const mapping = config.log;
  if (mapping === undefined) {
    throw new LogError(
      `the line "${config.line}" has no "log" in its config: it must name the log's user, item, timeMs and label columns`,
    );
  }
  const file = findLogFile(path);
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' });
  const connection = await instance.connect();
  const close = (): void => {
    connection.closeSync();
    instance.closeSync();
  };
  try {
    const columns = await describe(connection, file, 'log');
    await requireRows(connection, file);
    const tables = await loadSideTables({ connection, mapping, folder: dirname(file) });
    const mapped = mapColumns({ path: file, mapping, features: config.features, columns, tables });
    const survey = await surveyLog({ connection, file, mapped, mapping });
    const sql = requestRowsSql({ file, mapped, mapping, tables });
    return {
      path: file,
      ...survey,
      close,
      read: (fromMs, toMs) => readRequests({ connection, sql, mapped, fromMs, toMs }),
    };
  } catch (error) {
    close();
    throw error;
  }
}

async function surveyLog({
  connection,
  file,
  mapped,
  mapping,
}: {
  connection: DuckDBConnection;
  file: string;
  mapped: MappedColumns;
  mapping: LogMapping;
}): Promise<Pick<LogReader, 'rows' | 'unusableRows' | 'firstMs' | 'lastMs'>> {
  const usable = usableSql(mapped);
  const result = await connection.runAndReadAll(
    `select count(*)::double as all_rows, count(*) filter (${usable})::double as usable,
       min(${mapped.timeMs}) filter (${usable}) as first_ms, max(${mapped.timeMs}) filter (${usable}) as last_ms,
       count(*) filter (${usable} and ${mapped.label} not in (0, 1))::double as odd_labels
     from ${relation(file, 'log')} log`,
  );
  const [rows = 0, usableRows = 0, firstMs, lastMs, oddLabels = 0] = (result.getRowsJS()[0] ?? []).map((value) =>
    typeof value === 'number' ? value : undefined,
  );
  if (firstMs === undefined || lastMs === undefined) {
    throw new LogError(`the log ${file} has ${rows} rows, but none with a user, an item, a time and a label`);
  }
  if (oddLabels > 0) {
    throw new LogError(
      `column "${mapping.label}" of the log ${file} has ${oddLabels} values other than 0 and 1: log.label must say whether the item was clicked`,
    );
  }
  if (firstMs < EARLIEST_MS) {
    throw new LogError(
      `column "${mapping.timeMs}" of the log ${file} begins at ${firstMs}: log.timeMs must be Unix milliseconds (this looks like seconds)`,
    );
  }
  return { rows, unusableRows: rows - usableRows, firstMs, lastMs };
}

function usableSql({ user, item, timeMs, label }: MappedColumns): string {
  return `where ${[user, item, timeMs, label].map((sql) => `${sql} is not null`).join(' and ')}`;
}

function requestRowsSql({
  file,
  mapped,
  mapping,
  tables,
}: {
  file: string;
  mapped: MappedColumns;
  mapping: LogMapping;
  tables: readonly SideTable[];
}): string {
  const joins = tables.map(({ alias, key, as }) => {
    const owner = as === 'user' ? mapping.user : mapping.item;
    return `left join ${alias} on cast(${columnOf(alias, key)} as varchar) = cast(${columnOf('log', owner)} as varchar)`;
  });
  const { user, item, timeMs, label, dwellMs, fields } = mapped;
  return `select ${[timeMs, user, item, `cast(${label} as double)`, dwellMs, ...fields.map(({ sql }) => sql)].join(', ')}
    from ${relation(file, 'log')} log ${joins.join(' ')}
    ${usableSql(mapped)} and ${timeMs} >= $1 and ${timeMs} < $2
    order by ${timeMs}, log.filename, log.file_row_number`;
}

async function readRequests({
  connection,
  sql,
  mapped,
  fromMs,
  toMs,
}: {
  connection: DuckDBConnection;
  sql: string;
  mapped: MappedColumns;
  fromMs: number;
  toMs: number;
}): Promise<LoggedRequest[]> {
  const rows = (await connection.runAndReadAll(sql, [fromMs, toMs])).getRowsJS();
  const requests = new Map<string, LoggedRequest>();
  for (const [time, user, item, label, dwell, ...values] of rows) {
    const eventTimeMs = Number(time);
    const userId = asText(user);
    const id = asText(item);
    const raw: Record<'user' | 'context' | 'candidate', RawValues> = { user: {}, context: {}, candidate: {} };
    for (const [index, { from, field }] of mapped.fields.entries()) raw[from][field] = rawValue(values[index]);

    const key = `${eventTimeMs} ${userId}`;
    const request = requests.get(key) ?? {
      eventTimeMs,
      userId,
      user: raw.user,
      context: raw.context,
      candidates: [],
      outcomes: new Map<string, LoggedOutcome>(),
      repeatedItems: 0,
    };
    requests.set(key, request);
    const outcome = {
      clicked: label === 1,
      dwellMs: typeof dwell === 'number' && Number.isFinite(dwell) ? dwell : null,
    };
    const earlier = request.outcomes.get(id);
    if (earlier === undefined) {
      request.candidates.push({ id, features: raw.candidate });
      request.outcomes.set(id, outcome);
    } else {
      request.repeatedItems += 1;
      earlier.clicked ||= outcome.clicked;
    }
  }
  return [...requests.values()];
}

function rawValue(value: unknown): string | number | null {
  if (typeof value === 'string') return value;
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}
