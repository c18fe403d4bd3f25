import type { Feature, LineConfig } from '../../config/schema.ts';

/** What the config reads a source's column for. */
export interface ColumnUse {
  /** For messages: `feature "topic" reads it`. */
  as: string;
  /** Its values become ids by their text, so that 5 and 5.0 are different ones. */
  text: boolean;
}

const TEXT_ROLES = new Set(['user', 'item', 'impressionId', 'requestId', 'candidates', 'clicked', 'arm']);

/** What of the line's config reads a column of the source, whatever the case of its letters; null when nothing does. */
export function columnUse({ source, features }: LineConfig, column: string): ColumnUse | null {
  const is = (name: string | undefined): boolean => name?.toLowerCase() === column.toLowerCase();
  const logged = source.kind === 'eventLog';
  if (logged && !column.startsWith('features.')) return { as: "the event log's records have it", text: false };
  const wanted = features.filter((feature) => feature.kind === 'categorical' || feature.joined === undefined);
  const nameOf = (feature: Feature): string => (logged ? `features.${feature.name}` : (feature.field ?? feature.name));
  const readers = wanted.filter((feature) => is(nameOf(feature)));
  const feature = readers.find(({ kind }) => kind === 'categorical') ?? readers[0];
  if (feature !== undefined) {
    return { as: `feature "${feature.name}" reads it`, text: feature.kind === 'categorical' };
  }
  const dated = features.find(({ knownAt }) => is(knownAt));
  if (dated !== undefined) return { as: `knownAt of feature "${dated.name}" reads it`, text: false };
  if (source.kind === 'eventLog') return null;
  const mapped = Object.entries(source.columns).find(([, name]) => is(name));
  return mapped === undefined ? null : { as: `source.columns.${mapped[0]} reads it`, text: TEXT_ROLES.has(mapped[0]) };
}

/**
 * How a DuckDB type changed: `same` values are read from it (32 bits for 64), `near` ones (whole numbers for fractions),
 * or `other`. What is read as text must be of the same family, since 5, 5.0 and true are different texts.
 */
export function typeChange(before: string, now: string, text: boolean): 'same' | 'near' | 'other' {
  if (before === now) return 'same';
  if (before.endsWith('[]') && now.endsWith('[]')) return typeChange(before.slice(0, -2), now.slice(0, -2), text);
  const [was, is] = [familyOf(before), familyOf(now)];
  if (was === is) return 'same';
  return !text && NUMBERS.has(was) && NUMBERS.has(is) ? 'near' : 'other';
}

const NUMBERS = new Set(['integer', 'real', 'boolean']);

function familyOf(type: string): string {
  if (/^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/.test(type)) return 'integer';
  if (/^(FLOAT|DOUBLE|REAL|DECIMAL\(.*\))$/.test(type)) return 'real';
  if (/^(VARCHAR|UUID|ENUM\(.*\))$/.test(type)) return 'text';
  if (type.startsWith('TIMESTAMP')) return type.includes('ZONE') ? 'timestamp with time zone' : 'timestamp';
  return type === 'BOOLEAN' ? 'boolean' : type;
}
