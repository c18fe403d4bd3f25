import type { Profile } from '../profile/index.ts';

/** Version 0 keeps the input's order: its scores are a ladder, no probabilities. */
const UNSCORED = '0';

/** Sampled rows of one version that carry its score. */
export interface ScoredRows {
  scores: number[];
  /** NaN where the label is not known yet. */
  labels: number[];
}

/** The version with most rows here, if it is among the rows there too: another version's scores mean something else. */
export function sharedVersion(there: Profile, here: Profile): string | null {
  const version = mainVersion(here);
  return version !== null && (there.sample.categorical['version'] ?? []).includes(version) ? version : null;
}

/** The version that scored most rows; null when no row has the score of a model. */
export function mainVersion(profile: Profile): string | null {
  const column = profile.columns['version'];
  if (column?.kind !== 'categorical') return null;
  return column.heavy.find(([version]) => version !== UNSCORED)?.[0] ?? null;
}

export function scoredRows(profile: Profile, version: string): ScoredRows {
  const { numeric, categorical } = profile.sample;
  const rows: ScoredRows = { scores: [], labels: [] };
  for (const [row, score] of (numeric['score'] ?? new Float64Array()).entries()) {
    if (Number.isNaN(score) || categorical['version']?.[row] !== version) continue;
    rows.scores.push(score);
    rows.labels.push(numeric['label']?.[row] ?? NaN);
  }
  return rows;
}
