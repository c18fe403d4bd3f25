import { NO_TRAFFIC } from '../policy/health.ts';
import { clipProbability } from '../policy/statistics.ts';
import { HEALTH_RETENTION_MS, type HealthSumRow } from '../store/health-sums.ts';
import { emptyLatencyHistogram, observeLatency } from './latency-histogram.ts';

/** A row of the live health, less the process and boot that write it. */
export type HealthRow = Omit<HealthSumRow, 'processId' | 'boot' | 'latencyBuckets'> & { latencyBuckets: number[] };

export type HealthVariant = Pick<HealthRow, 'line' | 'version' | 'arm' | 'epoch'>;

export { HEALTH_RETENTION_MS };

/**
 * What this process adds to the live health of its lines: sums by bucket, version, arm and epoch, kept in memory and
 * written as they stand. Log loss needs no join: an impression adds -ln(1 - p) when it is shown and ln((1 - p) / p) more,
 * in the same bucket, if it turns out positive; the squares of the losses alike.
 */
export class HealthSums {
  readonly #rows = new Map<string, HealthRow>();
  readonly #unwritten = new Set<HealthRow>();
  readonly #write: (rows: readonly HealthRow[]) => Promise<void>;
  readonly #bucketOf: (line: string, atMs: number) => number;

  /** @param options.bucketOf start of the bucket of a time, Unix ms. */
  constructor(options: {
    bucketOf: (line: string, atMs: number) => number;
    write: (rows: readonly HealthRow[]) => Promise<void>;
  }) {
    this.#bucketOf = options.bucketOf;
    this.#write = options.write;
  }

  answered(variant: HealthVariant, answer: { atMs: number; latencyMs: number; scores: Iterable<number> }): void {
    const row = this.#attempt(variant, answer);
    for (const score of answer.scores) {
      const loss = -Math.log(1 - clipProbability(score));
      row.impressions += 1;
      row.scoreSum += score;
      row.logLossSum += loss;
      row.logLossSquareSum += loss * loss;
    }
  }

  failed(variant: HealthVariant, attempt: { atMs: number; latencyMs: number }): void {
    this.#attempt(variant, attempt).errors += 1;
  }

  /**
   * A shadow tried the copy of a request that stable answered. Both score lists are in the order of the candidates; null
   * when the shadow failed.
   */
  mirrored(
    variant: HealthVariant,
    copy: {
      atMs: number;
      latencyMs: number;
      scores: Float32Array | null;
      stableScores: Float32Array;
      stableLatencyMs: number;
    },
  ): void {
    const { scores, stableScores } = copy;
    if (scores === null) this.failed(variant, copy);
    else this.answered(variant, { ...copy, scores });
    const row = this.#row(variant, copy.atMs);
    row.stableLatencyMsSum += copy.stableLatencyMs;
    for (const [index, score] of (scores ?? []).entries())
      row.scoreDifferenceSum += score - (stableScores[index] ?? NaN);
  }

  dropped(variant: HealthVariant, atMs: number): void {
    this.#row(variant, atMs).dropped += 1;
  }

  /** An impression answered at `answeredAtMs` with `score` turned out positive. */
  positive(variant: HealthVariant, impression: { answeredAtMs: number; score: number; nowMs: number }): void {
    if (impression.nowMs - impression.answeredAtMs > HEALTH_RETENTION_MS) return;
    const p = clipProbability(impression.score);
    const row = this.#row(variant, impression.answeredAtMs);
    row.clicks += 1;
    row.logLossSum += Math.log((1 - p) / p);
    row.logLossSquareSum += Math.log(p) ** 2 - Math.log(1 - p) ** 2;
  }

  /**
   * Writes what changed. Rows that could not be written stay for the next time.
   *
   * @throws what `write` throws.
   */
  async flush(nowMs: number): Promise<void> {
    const rows = [...this.#unwritten];
    this.#unwritten.clear();
    try {
      if (rows.length > 0) await this.#write(rows);
    } catch (error) {
      for (const row of rows) this.#unwritten.add(row);
      throw error;
    } finally {
      this.#forget(nowMs);
    }
  }

  #attempt(variant: HealthVariant, { atMs, latencyMs }: { atMs: number; latencyMs: number }): HealthRow {
    const row = this.#row(variant, atMs);
    row.requests += 1;
    row.latencyMsSum += latencyMs;
    observeLatency(row.latencyBuckets, latencyMs);
    return row;
  }

  #row({ line, version, arm, epoch }: HealthVariant, atMs: number): HealthRow {
    const bucketAtMs = this.#bucketOf(line, atMs);
    const key = `${line}/${String(bucketAtMs)}/${String(version)}/${arm}/${String(epoch)}`;
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = { ...EMPTY, line, bucketAtMs, version, arm, epoch, latencyBuckets: emptyLatencyHistogram() };
      this.#rows.set(key, row);
    }
    this.#unwritten.add(row);
    return row;
  }

  /** A forgotten row could never be written again without losing what it held, so it outlives the last feedback it may get. */
  #forget(nowMs: number): void {
    for (const [key, row] of this.#rows) {
      if (nowMs - row.bucketAtMs > 2 * HEALTH_RETENTION_MS) {
        this.#rows.delete(key);
        this.#unwritten.delete(row);
      }
    }
  }
}

const EMPTY = {
  ...NO_TRAFFIC,
  scoreDifferenceSum: 0,
  stableLatencyMsSum: 0,
  dropped: 0,
};
