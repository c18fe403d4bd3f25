import type { Feature } from '../../config/schema.ts';
import { sqlName } from '../duckdb.ts';

/** SQL type of `known_at_ms`: a field for each feature that declares `knownAt`; BIGINT where none does. */
export function knownAtType(features: readonly Feature[]): string {
  const declared = features.filter((feature) => feature.knownAt !== undefined);
  if (declared.length === 0) return 'BIGINT';
  return `STRUCT(${declared.map(({ name }) => `${sqlName(name)} BIGINT`).join(', ')})`;
}
