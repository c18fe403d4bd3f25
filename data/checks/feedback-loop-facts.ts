import { z } from 'zod';
import { wilsonInterval } from '../../policy/proportion.ts';
import type { Duck } from '../duckdb.ts';
import { compareScores, NO_GROUP } from '../evaluation/bootstrap.ts';

/** Training labels by what chose the impression. */
export interface Origin {
  labels: number;
  /** Without an arm: the source does not say. */
  unknown: number;
  exploration: number;
  /** Chosen by a model: no exploration, and not version 0, which keeps the input's order. */
  model: number;
}

/** How what is shown is spread over items. */
export interface Concentration {
  items: number;
  /**
   * The number of equally frequent items among which two impressions would show the same one as often as here: one over
   * the unbiased estimate of Simpson's index (Simpson, "Measurement of diversity", Nature 163, 1949), which does not depend
   * on the number of rows. Null when no item was shown twice.
   */
  effective: number | null;
  /** Share of the impressions of the most frequent 1 % of the items, rounded up. */
  topShare: number;
  /** 0 when all items are shown alike, 1 when one has it all; corrected for the number of items. */
  gini: number;
}

interface Interval {
  estimate: number;
  lower: number;
  upper: number;
}

/** How well logged scores rank, and how often the label is positive. NaN where it is not known. Two-sided 90 %. */
export interface Quality {
  traffic: 'exploration' | 'policy';
  rows: number;
  auc: Interval;
  clickRate: Interval;
}

const REPLICATES = 200;
/** Rows a side: the AUC of so many is right to 0.01. */
const SAMPLE_ROWS = 20_000;
const Z_90 = 1.645;

const int = z.number().int();

export function readOrigin(db: Duck): Promise<Origin> {
  return db.row(
    `SELECT count(*) AS labels, count(*) FILTER (arm IS NULL) AS unknown,
       count(*) FILTER (arm = 'exploration') AS exploration,
       count(*) FILTER (arm <> 'exploration' AND version > 0) AS model
     FROM train`,
    z.object({ labels: int, unknown: int, exploration: int, model: int }),
  );
}

export function readConcentration(db: Duck): Promise<Concentration> {
  return db.row(
    `WITH shown AS (
       SELECT CAST(count(*) AS DOUBLE) AS n, row_number() OVER (ORDER BY count(*), item_id) AS place FROM fresh GROUP BY item_id
     ), totals AS (SELECT count(*) AS items, sum(n) AS total FROM shown)
     SELECT any_value(items) AS items,
       any_value(total) * (any_value(total) - 1) / nullif(sum(n * (n - 1)), 0) AS effective,
       coalesce(sum(n) FILTER (place > items - ceil(items / 100)), 0) / any_value(total) AS topShare,
       CASE WHEN any_value(items) < 2 THEN 1
            ELSE sum((2 * place - items - 1) * n) / ((any_value(items) - 1) * any_value(total)) END AS gini
     FROM shown CROSS JOIN totals`,
    z.object({ items: int, effective: z.number().nullable(), topShare: z.number(), gini: z.number() }),
  );
}

/** Of a model's logged scores on exploration traffic, which the model did not choose, and on the other. */
export async function readQuality(db: Duck, seed: number): Promise<Quality[]> {
  return [await qualityOf(db, { traffic: 'exploration', seed }), await qualityOf(db, { traffic: 'policy', seed })];
}

async function qualityOf(db: Duck, input: { traffic: Quality['traffic']; seed: number }): Promise<Quality> {
  const { traffic, seed } = input;
  const where = `version > 0 AND score IS NOT NULL AND arm ${traffic === 'exploration' ? '=' : '<>'} 'exploration'`;
  const { rows, positives } = await db.row(
    `SELECT count(*) AS rows, coalesce(sum(label), 0) AS positives FROM fresh WHERE ${where}`,
    z.object({ rows: int, positives: int }),
  );
  const clickRate = { estimate: positives / rows, ...wilsonInterval({ successes: positives, n: rows, z: Z_90 }) };
  const sample = await db.rows(
    // Ranks have the AUC of the scores, and are in range whatever was logged.
    `SELECT label, percent_rank() OVER (ORDER BY score) AS score, dense_rank() OVER (ORDER BY user_id) - 1 AS "user" FROM (
       SELECT * FROM fresh WHERE ${where} ORDER BY hash(impression_id), impression_id LIMIT ${String(SAMPLE_ROWS)}
     ) ORDER BY impression_id`,
    z.object({ label: int, score: z.number(), user: int }),
  );
  const scored = {
    labels: Uint8Array.from(sample, ({ label }) => label),
    users: Uint32Array.from(sample, ({ user }) => user),
    userCount: sample.reduce((most, { user }) => Math.max(most, user + 1), 0),
    groups: new Uint32Array(sample.length).fill(NO_GROUP),
    groupCount: 0,
    scores: [Float32Array.from(sample, ({ score }) => score)],
  };
  const { overall } = await compareScores({
    rows: scored,
    slices: [],
    replicates: REPLICATES,
    seed,
    k: 1,
    sliceMinRows: 1,
  });
  const { estimate, lower, upper } = overall.challenger.auc;
  return { traffic, rows, clickRate, auc: { estimate, lower, upper } };
}
