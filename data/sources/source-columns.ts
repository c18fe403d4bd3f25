import type { Feature } from '../../config/schema.ts';
import type { FeedbackColumns, ImpressionColumns } from '../../config/source-section.ts';
import { DataError } from '../data-error.ts';
import { sqlName } from '../duckdb.ts';

/** A column as a source has it, with its DuckDB type. */
export interface Column {
  name: string;
  type: string;
}

/** A column that the config asks for. */
export interface Wanted {
  name: string;
  /** Where the config asks, for messages. */
  by: string;
  /** A joined feature needs no logged value, one that the config has dropped may be gone. */
  optional: boolean;
}

/** Where columns are found: for messages. */
export interface Place {
  /** Such as `lake /data/*.parquet`. */
  where: string;
  columns: readonly Column[];
}

/** Columns by the name that the config gives them. */
export type FoundColumns = ReadonlyMap<string, Column>;

export function impressionsWanted(
  columns: ImpressionColumns,
  features: readonly Feature[],
  dropped: readonly string[] = [],
): Wanted[] {
  const wanted = mapped(columns, 'source.columns');
  for (const feature of features) {
    const gone = dropped.includes(feature.name);
    const optional = gone || (feature.kind === 'numeric' && feature.joined !== undefined);
    wanted.push({ name: fieldOf(feature), by: `feature "${feature.name}"`, optional });
    if (feature.knownAt !== undefined) {
      wanted.push({ name: feature.knownAt, by: `knownAt of feature "${feature.name}"`, optional: gone });
    }
  }
  return wanted;
}

export function feedbackWanted(columns: FeedbackColumns): Wanted[] {
  return mapped(columns, 'source.feedback.columns');
}

function mapped(columns: Readonly<Record<string, string | undefined>>, section: string): Wanted[] {
  return Object.entries(columns).flatMap(([role, name]) =>
    name === undefined ? [] : [{ name, by: `${section}.${role}`, optional: false }],
  );
}

/** The field of a rank request, and with it the column of a source, that a feature is made of. */
export function fieldOf(feature: Feature): string {
  return feature.field ?? feature.name;
}

/**
 * Finds what the config asks for, whatever the case of the letters.
 *
 * @throws DataError that names all columns that are missing and those that there are.
 */
export function findColumns(place: Place, wanted: readonly Wanted[]): FoundColumns {
  const byName = new Map(place.columns.map((column) => [column.name.toLowerCase(), column]));
  const found = new Map<string, Column>();
  const missing: string[] = [];
  for (const { name, by, optional } of wanted) {
    const column = byName.get(name.toLowerCase());
    if (column !== undefined) found.set(name, column);
    else if (!optional) missing.push(`"${name}" (${by})`);
  }
  if (missing.length === 0) return found;
  const has = place.columns.map(({ name }) => name).join(', ');
  throw new DataError(
    `the ${place.where} has no column ${missing.join(', ')}; it has ${has === '' ? 'none' : has}. Correct the name in the line's config (a feature's column is its "field"), or add the column`,
  );
}

/** The columns once each, as an SQL list. */
export function selectList(found: FoundColumns): string {
  return [...new Set([...found.values()].map(({ name }) => sqlName(name)))].join(', ');
}

export function sortedByName(columns: readonly Column[]): Column[] {
  return columns.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
