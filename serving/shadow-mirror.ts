import { userPoint } from '../policy/assignment.ts';
import { MAX_OPEN_COPIES } from '../policy/sample-ratio.ts';
import { ModelError } from '../scoring/model-session.ts';
import type { Scoring } from '../scoring/threaded-model.ts';
import type { HealthSums } from './health-sums.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { RequestFeatures } from './request-features.ts';
import type { ServedLine, ServedRoute } from './served-line.ts';

/** A request as stable scored it. */
export interface MirroredRequest {
  served: ServedRoute;
  requestId: string;
  /** How many candidates were answered; all when left out. */
  limit: number | undefined;
  features: RequestFeatures;
  stableScores: Float32Array;
  /** What the model itself took: a copy waits for other things than a request. */
  stableRunMs: number;
}

/** Generous: what is slow must be measured as slow, not given up. */
const SHADOW_DEADLINE_MS = 2_000;

/**
 * Scores copies of a line's answered requests with the route's shadow, after the answer. When too many are open, further
 * copies are dropped; nothing of this ever holds up a request. Each copy that is due is counted at once, in the same turn
 * as stable's answer, and what became of it later: scored, failed, no numbers or dropped.
 */
export class ShadowMirror {
  readonly #line: ServedLine;
  readonly #sums: HealthSums;
  readonly #metrics: GatewayMetrics;
  readonly #open = new Set<Promise<void>>();
  #closed = false;

  constructor(options: { line: ServedLine; sums: HealthSums; metrics: GatewayMetrics }) {
    this.#line = options.line;
    this.#sums = options.sums;
    this.#metrics = options.metrics;
  }

  /** Takes a copy if the route has a shadow whose share the request falls in; scores it while the lease holds. */
  offer(request: MirroredRequest): void {
    const { served, requestId } = request;
    if (served.shadow === null || userPoint(requestId, 'shadow') >= served.route.shadowShare) return;
    this.#sums.copied(variantOf(served), Date.now());
    if (this.#open.size >= MAX_OPEN_COPIES || !this.#wanted(served)) {
      this.#drop(served);
      return;
    }
    const scoring = this.#score(request).finally(() => this.#open.delete(scoring));
    this.#open.add(scoring);
  }

  /** Takes no more, and resolves when nothing is being scored. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#open);
  }

  async #score({ served, limit, features, stableScores, stableRunMs }: MirroredRequest): Promise<void> {
    // The answer goes out first, and so do those of the requests that have come in meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#closed || !this.#wanted(served)) {
      this.#drop(served);
      return;
    }
    const { shadow } = served;
    let startedMs = performance.now();
    let scored: Scoring | null = null;
    let failure: 'failed' | 'notNumbers' = 'failed';
    if (shadow?.kind === 'loaded') {
      try {
        const { version } = shadow;
        const rows = features.rowsFor(version.featurizer);
        startedMs = performance.now();
        scored = await version.score(rows, SHADOW_DEADLINE_MS);
      } catch (error) {
        // Counted below: what it was does not matter, how often it happens does.
        if (error instanceof ModelError) failure = error.kind;
      }
    }
    // A shadow that was taken away while it scored may have failed for that reason alone.
    if (!this.#wanted(served)) {
      this.#drop(served);
      return;
    }
    this.#sums.mirrored(variantOf(served), {
      atMs: Date.now(),
      latencyMs: scored?.runMs ?? performance.now() - startedMs,
      result: scored === null ? { kind: failure } : { kind: 'scored', scores: scored.scores },
      stableScores,
      stableLatencyMs: stableRunMs,
      k: Math.min(limit ?? Infinity, this.#line.config.evaluation.k),
    });
  }

  #wanted(served: ServedRoute): boolean {
    return served.route.epoch === this.#line.served?.route.epoch && this.#line.leaseHolds(served);
  }

  #drop(served: ServedRoute): void {
    const variant = variantOf(served);
    this.#sums.dropped(variant, Date.now());
    this.#metrics.shadowDropped.inc({ line: variant.line, version: String(variant.version) });
  }
}

function variantOf({ route }: ServedRoute) {
  return { line: route.line, version: route.shadow ?? NaN, arm: 'shadow' as const, epoch: route.epoch };
}
