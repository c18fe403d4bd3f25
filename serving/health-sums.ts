import { NO_TRAFFIC } from '../policy/health.ts';
import { clipProbability } from '../policy/statistics.ts';
import { HEALTH_RETENTION_MS, type HealthSumRow } from '../store/health-sums.ts';
import { emptyLatencyHistogram, observeLatency } from './latency-histogram.ts';
import type { VariantTotals } from './variant-totals.ts';
import { addPairs, noPairs, type OpenShadowSums } from './paired-scores.ts';

/** A row of the live health, less the process and boot that write it. */
export type HealthRow = Omit<HealthSumRow, 'processId' | 'boot' | 'latencyBuckets' | 'shadow'> & {
  latencyBuckets: number[];
  shadow?: OpenShadowSums;
};

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
  readonly #totals: VariantTotals | null;

  /**
   * @param options.bucketOf start of the bucket of a time, Unix ms.
   * @param options.totals gets all that is counted, too.
   */
  constructor(options: {
    bucketOf: (line: string, atMs: number) => number;
    write: (rows: readonly HealthRow[]) => Promise<void>;
    totals?: VariantTotals;
  }) {
    this.#bucketOf = options.bucketOf;
    this.#totals = options.totals ?? null;
    this.#write = options.write;
  }

  answered(variant: HealthVariant, answer: { atMs: number; latencyMs: number; scores: Iterable<number> }): void {
    const row = this.#attempt(variant, answer);
    const shown = { impressions: 0, scoreSum: 0, logLossSum: 0 };
    for (const score of answer.scores) {
      const loss = -Math.log(1 - clipProbability(score));
      shown.impressions += 1;
      shown.scoreSum += score;
      shown.logLossSum += loss;
      row.logLossSquareSum += loss * loss;
    }
    row.impressions += shown.impressions;
    row.scoreSum += shown.scoreSum;
    row.logLossSum += shown.logLossSum;
    const totals = this.#totals?.of(variant, answer.atMs);
    if (totals === undefined) return;
    totals.impressions += shown.impressions;
    totals.scoreSum += shown.scoreSum;
    totals.logLoss += shown.logLossSum;
  }

  failed(variant: HealthVariant, attempt: { atMs: number; latencyMs: number }): void {
    this.#attempt(variant, attempt).errors += 1;
    const totals = this.#totals?.of(variant, attempt.atMs);
    if (totals !== undefined) totals.errors += 1;
  }

  /** A copy of a request that stable answered is due; what becomes of it is told by `mirrored` or `dropped`. */
  copied(variant: HealthVariant, atMs: number): void {
    pairsOf(this.#row(variant, atMs)).copies += 1;
  }

  /** A shadow tried a copy. Both score lists are in the order of the candidates; rankings are compared at `k`. */
  mirrored(
    variant: HealthVariant,
    copy: {
      atMs: number;
      latencyMs: number;
      result: { kind: 'scored'; scores: Float32Array } | { kind: 'failed' } | { kind: 'notNumbers' };
      stableScores: Float32Array;
      stableLatencyMs: number;
      k: number;
    },
  ): void {
    const { result, stableScores, k } = copy;
    const row = this.#row(variant, copy.atMs);
    row.stableLatencyMsSum += copy.stableLatencyMs;
    if (result.kind === 'scored') {
      const { scores } = result;
      this.answered(variant, { ...copy, scores });
      row.scoreDifferenceSum += addPairs(pairsOf(row), { scores, stableScores, k });
    } else if (result.kind === 'failed') {
      this.failed(variant, copy);
    } else {
      this.#attempt(variant, copy);
      pairsOf(row).notNumbers += 1;
    }
  }

  /** A copy was given up. */
  dropped(variant: HealthVariant, atMs: number): void {
    this.#row(variant, atMs).dropped += 1;
  }

  /** The rows of shadows that are not forgotten yet. */
  shadowRows(): HealthRow[] {
    return [...this.#rows.values()].filter(({ arm }) => arm === 'shadow');
  }

  /** An impression answered at `answeredAtMs` with `score` turned out positive. */
  positive(variant: HealthVariant, impression: { answeredAtMs: number; score: number; nowMs: number }): void {
    if (impression.nowMs - impression.answeredAtMs > HEALTH_RETENTION_MS) return;
    const p = clipProbability(impression.score);
    const row = this.#row(variant, impression.answeredAtMs);
    row.clicks += 1;
    row.logLossSum += Math.log((1 - p) / p);
    row.logLossSquareSum += Math.log(p) ** 2 - Math.log(1 - p) ** 2;
    const totals = this.#totals?.ofFeedback(variant, impression.nowMs);
    if (totals == null) return;
    totals.clicks += 1;
    totals.logLoss -= Math.log(p);
    totals.logLossRetracted -= Math.log(1 - p);
  }

  /**
   * An impression answered at `answeredAtMs` was looked at for `dwellMs`, and as was known already for `beforeMs` (null:
   * nothing was): the larger of the two counts.
   */
  dwelled(
    variant: HealthVariant,
    impression: { answeredAtMs: number; dwellMs: number; beforeMs: number | null; nowMs: number },
  ): void {
    const { answeredAtMs, dwellMs, beforeMs, nowMs } = impression;
    if (nowMs - answeredAtMs > HEALTH_RETENTION_MS) return;
    if (beforeMs !== null && dwellMs <= beforeMs) return;
    const first = beforeMs === null ? 1 : 0;
    const before = beforeMs ?? 0;
    const row = this.#row(variant, answeredAtMs);
    row.dwells += first;
    row.dwellSum += dwellMs - before;
    row.dwellSquareSum += dwellMs * dwellMs - before * before;
    const totals = this.#totals?.ofFeedback(variant, nowMs);
    if (totals == null) return;
    totals.dwells += first;
    totals.dwellMs += dwellMs - before;
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
    const totals = this.#totals?.of(variant, atMs);
    if (totals !== undefined) {
      totals.requests += 1;
      totals.latencyMs += latencyMs;
      observeLatency(totals.latencyBuckets, latencyMs);
    }
    return row;
  }

  #row({ line, version, arm, epoch }: HealthVariant, atMs: number): HealthRow {
    const bucketAtMs = this.#bucketOf(line, atMs);
    const key = `${line}/${String(bucketAtMs)}/${String(version)}/${arm}/${String(epoch)}`;
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = { ...EMPTY, line, bucketAtMs, version, arm, epoch, latencyBuckets: emptyLatencyHistogram() };
      // Also of a row that no copy is counted in: without bins it would be taken for an older build's.
      if (arm === 'shadow') row.shadow = noPairs();
      this.#rows.set(key, row);
    }
    this.#unwritten.add(row);
    return row;
  }

  /**
   * A forgotten row could never be written again without losing what it held, so it outlives the last feedback it may get.
   * Rows stand about in the order of their buckets: what is behind one that stays is looked at when that one has gone.
   */
  #forget(nowMs: number): void {
    this.#totals?.forget(nowMs);
    for (const [key, row] of this.#rows) {
      if (nowMs - row.bucketAtMs <= 2 * HEALTH_RETENTION_MS) break;
      this.#rows.delete(key);
      this.#unwritten.delete(row);
    }
  }
}

function pairsOf(row: HealthRow): OpenShadowSums {
  return (row.shadow ??= noPairs());
}

const EMPTY = {
  ...NO_TRAFFIC,
  scoreDifferenceSum: 0,
  stableLatencyMsSum: 0,
  dropped: 0,
};
