import type { Feature, LineConfig } from '../config/schema.ts';

export type LogMapping = NonNullable<LineConfig['log']>;
type FeatureOrigin = Feature['from'];

/** A log that can not be replayed. The message says where, what was expected and what to do. */
export class LogError extends Error {
  override readonly name = 'LogError';
}

/** A column of a table, with its DuckDB type. */
export interface Column {
  name: string;
  type: string;
}

/** A side table as it was found: its columns, and the name it goes by in SQL. */
export interface SideTable {
  alias: string;
  path: string;
  key: string;
  as: 'user' | 'candidate';
  columns: Column[];
}

/** A raw value of the rank request and the SQL that reads it from `log` and the side tables. */
export interface MappedField {
  from: FeatureOrigin;
  field: string;
  sql: string;
}

export interface MappedColumns {
  user: string;
  item: string;
  timeMs: string;
  label: string;
  /** SQL `null` where the log has no dwell time. */
  dwellMs: string;
  fields: MappedField[];
}

/**
 * Finds the SQL of everything the config asks of a log. Fields of features come from the log's own columns first (they
 * are of that moment), else from a side table of the user or the candidate. Joined features are left out: they are not
 * known when a request is served.
 *
 * @throws LogError that names every column that is missing and the columns there are.
 */
export function mapColumns({
  path,
  mapping,
  features,
  columns,
  tables,
}: {
  path: string;
  mapping: LogMapping;
  features: readonly Feature[];
  columns: readonly Column[];
  tables: readonly SideTable[];
}): MappedColumns {
  const missing: string[] = [];
  const logColumn = (name: string, wantedBy: string): Column => {
    const found = columns.find((column) => column.name === name);
    if (found === undefined) missing.push(`"${name}" (${wantedBy})`);
    return found ?? { name, type: 'BIGINT' };
  };
  const time = logColumn(mapping.timeMs, 'log.timeMs');
  const label = logColumn(mapping.label, 'log.label');
  const mapped = {
    user: `cast(${columnOf('log', logColumn(mapping.user, 'log.user').name)} as varchar)`,
    item: `cast(${columnOf('log', logColumn(mapping.item, 'log.item').name)} as varchar)`,
    timeMs: timeSql(time, path),
    label:
      label.type === 'BOOLEAN'
        ? `cast(${columnOf('log', label.name)} as integer)`
        : `try_cast(${columnOf('log', label.name)} as double)`,
    dwellMs:
      mapping.dwellMs === undefined
        ? 'null::double'
        : `try_cast(${columnOf('log', logColumn(mapping.dwellMs, 'log.dwellMs').name)} as double)`,
  };

  const fields = new Map<string, MappedField>();
  for (const feature of features) {
    if (feature.kind === 'numeric' && feature.joined !== undefined) continue;
    const field = feature.field ?? feature.name;
    const place = [{ alias: 'log', columns }, ...tables.filter((table) => table.as === feature.from)].find((table) =>
      table.columns.some((column) => column.name === field),
    );
    if (place === undefined) missing.push(`"${field}" (feature "${feature.name}" from the ${feature.from})`);
    else {
      const column = columnOf(place.alias, field);
      // Text for ids, so that a value reads the same whatever the file's type of the column; a number that can not be read is missing.
      const sql = feature.kind === 'categorical' ? `cast(${column} as varchar)` : `try_cast(${column} as double)`;
      fields.set(`${feature.from}.${field}`, { from: feature.from, field, sql });
    }
  }
  if (missing.length > 0) throw new LogError(missingMessage({ path, missing, columns, tables }));
  return { ...mapped, fields: [...fields.values()] };
}

function timeSql({ name, type }: Column, path: string): string {
  const column = columnOf('log', name);
  if (type.startsWith('TIMESTAMP')) return `cast(epoch_ms(${column}) as double)`;
  if (/^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$/.test(type)) return `cast(${column} as double)`;
  throw new LogError(
    `column "${name}" of the log ${path} has the type ${type}: log.timeMs must be Unix milliseconds or a timestamp`,
  );
}

function missingMessage({
  path,
  missing,
  columns,
  tables,
}: {
  path: string;
  missing: string[];
  columns: readonly Column[];
  tables: readonly SideTable[];
}): string {
  const names = (list: readonly Column[]): string => list.map(({ name }) => name).join(', ');
  const lines = [
    `the log ${path} lacks ${missing.length === 1 ? 'the column' : 'the columns'} ${missing.join(', ')}.`,
    `The log has: ${names(columns)}.`,
    ...tables.map((table) => `The ${table.as} table ${table.path} has: ${names(table.columns)}.`),
    'Name an existing column in the line\'s "log" or in the feature\'s "field", or add a side table under log.tables.',
  ];
  return lines.join('\n');
}

/** A quoted column reference. */
export function columnOf(table: string, name: string): string {
  return `${table}."${name.replaceAll('"', '""')}"`;
}

/** A quoted text. */
export function textOf(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}
