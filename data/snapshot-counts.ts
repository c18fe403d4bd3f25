import { z } from 'zod';
import { DataError } from './data-error.ts';
import { sqlText, type Duck } from './duckdb.ts';
import type { SnapshotManifest } from './snapshot-manifest.ts';
import { MALFORMED } from './snapshot-rows.ts';

const int = z.number().int();

interface Here {
  line: string;
  eventNowMs: number;
}

type Counts = SnapshotManifest['counts'];
type SourceCounts = Pick<Counts, 'read' | 'malformed' | 'otherLine' | 'notArrived' | 'future'>;

/** Counts what was read, and what of it is none of this snapshot's business. Reads `source_rows`. */
export async function countSource(db: Duck, { line, eventNowMs }: Here): Promise<SourceCounts> {
  const ours = `NOT ${MALFORMED} AND line = ${sqlText(line)}`;
  const arrived = `${ours} AND arrived_at_ms < ${String(eventNowMs)}`;
  return db.row(
    `SELECT count(*) AS read,
       count(*) FILTER (${MALFORMED}) AS malformed,
       count(*) FILTER (NOT ${MALFORMED} AND line <> ${sqlText(line)}) AS otherLine,
       count(*) FILTER (${ours} AND arrived_at_ms >= ${String(eventNowMs)}) AS notArrived,
       count(*) FILTER (${arrived} AND event_time_ms > ${String(eventNowMs)}) AS future
     FROM source_rows`,
    z.object({ read: int, malformed: int, otherLine: int, notArrived: int, future: int }),
  );
}

/**
 * Counts of every row that was read, by where it went.
 *
 * @throws DataError when they do not add up: a row was lost or counted twice, and the snapshot must not be used.
 */
export async function countRows(db: Duck, source: SourceCounts): Promise<Counts> {
  const { duplicates } = await db.row('SELECT count(*) AS duplicates FROM repeats', z.object({ duplicates: int }));
  const part = (name: string): string => `count(*) FILTER (part = '${name}') AS ${name}`;
  const parts = await db.row(
    `SELECT ${['immature', 'history', 'tainted', 'reserved', 'sampledOut', 'train', 'holdout', 'replay'].map(part).join(', ')},
       count(*) FILTER (late AND part = 'train') AS lateIncluded, count(*) FILTER (corrected AND part = 'train') AS corrected
     FROM parts`,
    z.object({
      immature: int,
      history: int,
      tainted: int,
      reserved: int,
      sampledOut: int,
      train: int,
      holdout: int,
      replay: int,
      lateIncluded: int,
      corrected: int,
    }),
  );
  const labels = await db.row(
    `SELECT count(*) FILTER ("#by_proxy") AS proxyLabelled, count(*) FILTER (label = 1) AS positives
     FROM snapshot_rows WHERE "#file" IN ('train', 'holdout')`,
    z.object({ proxyLabelled: int, positives: int }),
  );
  const counts = { ...source, duplicates, ...parts, ...labels };
  const placed = placedRows(counts);
  if (placed !== counts.read) {
    throw new DataError(
      `the snapshot's rows do not add up: ${String(counts.read)} were read, ${String(placed)} were placed; it must not be used`,
    );
  }
  return counts;
}

/** The sum of all steps: what was read, when no row is lost or counted twice. */
function placedRows(counts: Counts): number {
  const { malformed, otherLine, notArrived, future, duplicates } = counts;
  const { immature, history, tainted, reserved, sampledOut, train, holdout, replay } = counts;
  const leftOut = malformed + otherLine + notArrived + future + duplicates;
  return leftOut + immature + history + tainted + reserved + sampledOut + train + holdout + replay;
}

/** Of the feedback that had arrived: how much there is, and how much has no impression in `source_rows`. */
export async function countFeedback(db: Duck, { line, eventNowMs }: Here): Promise<SnapshotManifest['feedback']> {
  return db.row(
    `SELECT count(*) AS read, count(*) FILTER (impression_id IS NULL) AS malformed,
       count(*) FILTER (impression_id IS NOT NULL AND impression_id NOT IN (SELECT impression_id FROM source_rows WHERE impression_id IS NOT NULL)) AS orphans
     FROM source_feedback
     WHERE impression_id IS NULL OR (line = ${sqlText(line)} AND arrived_at_ms < ${String(eventNowMs)})`,
    z.object({ read: int, malformed: int, orphans: int }),
  );
}
