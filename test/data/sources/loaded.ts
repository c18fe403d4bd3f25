import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { z } from 'zod';
import { lineConfigSchema, type Feature, type LineConfigInput } from '../../../config/schema.ts';
import { openDuckDb } from '../../../data/duckdb.ts';
import type { DataSource, SourceRange, SourceReading } from '../../../data/sources/data-source.ts';

export const HOUR = 3_600_000;
/** Midnight of a day in UTC. */
export const START = Date.UTC(2026, 0, 5);

export function featuresOf(features: LineConfigInput['features']): Feature[] {
  return lineConfigSchema.parse({ line: 'feed', features }).features;
}

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-source-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const nullableText = z.string().nullable();
const nullableNumber = z.number().nullable();

const sourceRow = z.object({
  row: z.number(),
  impression_id: nullableText,
  request_id: nullableText,
  line: nullableText,
  user_id: nullableText,
  item_id: nullableText,
  event_time_ms: nullableNumber,
  arrived_at_ms: nullableNumber,
  position: nullableNumber,
  version: nullableNumber,
  arm: nullableText,
  propensity: nullableNumber,
  score: nullableNumber,
  features: z.record(z.string(), nullableText).nullable(),
  known_at_ms: z.unknown(),
});
const feedbackRow = z.object({
  impression_id: nullableText,
  line: nullableText,
  event: nullableText,
  value: nullableNumber,
  event_time_ms: nullableNumber,
  arrived_at_ms: nullableNumber,
});

/** What a source put into its two tables, in the order of the rows. */
export async function loaded(
  source: DataSource,
  input: { range: SourceRange; features: readonly Feature[] },
): Promise<{
  reading: SourceReading;
  rows: z.infer<typeof sourceRow>[];
  feedback: z.infer<typeof feedbackRow>[];
}> {
  const db = await openDuckDb();
  try {
    const reading = await source.load(db, input.range, input.features);
    return {
      reading,
      rows: await db.rows('SELECT * FROM source_rows ORDER BY row', sourceRow),
      feedback: await db.rows(
        'SELECT * FROM source_feedback ORDER BY event_time_ms, impression_id, event',
        feedbackRow,
      ),
    };
  } finally {
    db.close();
  }
}
