import { userPoint } from '../policy/assignment.ts';
import type { Scoring } from '../scoring/threaded-model.ts';
import type { HealthSums } from './health-sums.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { RequestFeatures } from './request-features.ts';
import type { ServedLine, ServedRoute } from './served-line.ts';

/** A request as stable scored it. */
export interface MirroredRequest {
  served: ServedRoute;
  requestId: string;
  features: RequestFeatures;
  stableScores: Float32Array;
  /** What the model itself took: a copy waits for other things than a request. */
  stableRunMs: number;
}

/** Copies that wait or are being scored. */
const MAX_OPEN = 64;
/** Generous: what is slow must be measured as slow, not given up. */
const SHADOW_DEADLINE_MS = 2_000;

/**
 * Scores copies of a line's answered requests with the route's shadow, after the answer. When too many are open, further
 * copies are dropped and counted; nothing of this ever holds up a request.
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

  /** Takes a copy if the route has a shadow whose share the request falls in and whose lease holds. */
  offer(request: MirroredRequest): void {
    const { served, requestId } = request;
    if (this.#closed || served.shadow === null || !this.#line.leaseHolds(served)) return;
    if (userPoint(requestId, 'shadow') >= served.route.shadowShare) return;
    if (this.#open.size >= MAX_OPEN) {
      const variant = this.#variant(served);
      this.#sums.dropped(variant, Date.now());
      this.#metrics.shadowDropped.inc({ line: variant.line, version: String(variant.version) });
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

  async #score({ served, features, stableScores, stableRunMs }: MirroredRequest): Promise<void> {
    // The answer goes out first, and so do those of the requests that have come in meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
    const { shadow } = served;
    const wanted = (): boolean =>
      served.route.epoch === this.#line.served?.route.epoch && this.#line.leaseHolds(served);
    if (shadow === null || this.#closed || !wanted()) return;
    let startedMs = performance.now();
    let scored: Scoring | null = null;
    if (shadow.kind === 'loaded') {
      try {
        const { version } = shadow;
        const rows = features.rowsFor(version.featurizer);
        startedMs = performance.now();
        scored = await version.score(rows, SHADOW_DEADLINE_MS);
      } catch {
        // Counted below: what it was does not matter, how often it happens does.
      }
    }
    // A shadow that was taken away while it scored may have failed for that reason alone.
    if (!wanted()) return;
    this.#sums.mirrored(this.#variant(served), {
      atMs: Date.now(),
      latencyMs: scored?.runMs ?? performance.now() - startedMs,
      scores: scored?.scores ?? null,
      stableScores,
      stableLatencyMs: stableRunMs,
    });
  }

  #variant({ route }: ServedRoute) {
    return { line: route.line, version: route.shadow ?? NaN, arm: 'shadow' as const, epoch: route.epoch };
  }
}
