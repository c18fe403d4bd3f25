import type { RawFeatures } from '../features/featurizer.ts';
import { userPoint } from '../policy/assignment.ts';
import type { HealthSums } from './health-sums.ts';
import type { GatewayMetrics } from './metrics.ts';
import type { ServedLine, ServedRoute } from './served-line.ts';

/** A request as stable scored it. */
export interface MirroredRequest {
  served: ServedRoute;
  requestId: string;
  raw: RawFeatures;
  stableScores: Float32Array;
  stableLatencyMs: number;
}

const MAX_WAITING = 64;
/** Generous: what is slow must be measured as slow, not given up. */
const SHADOW_DEADLINE_MS = 2_000;

/**
 * Scores copies of a line's answered requests with the route's shadow, one at a time and after the answer. When too many
 * wait, further copies are dropped and counted; nothing of this ever holds up a request.
 */
export class ShadowMirror {
  readonly #line: ServedLine;
  readonly #sums: HealthSums;
  readonly #metrics: GatewayMetrics;
  readonly #waiting: MirroredRequest[] = [];
  #draining: Promise<void> | null = null;
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
    if (this.#waiting.length >= MAX_WAITING) {
      const variant = this.#variant(served);
      this.#sums.dropped(variant, Date.now());
      this.#metrics.shadowDropped.inc({ line: variant.line, version: String(variant.version) });
      return;
    }
    this.#waiting.push(request);
    this.#draining ??= this.#drain();
  }

  /** Forgets what waits, and resolves when nothing is being scored. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting.length = 0;
    await this.#draining;
  }

  async #drain(): Promise<void> {
    let next: MirroredRequest | undefined;
    while ((next = this.#waiting.shift()) !== undefined) {
      // Requests that came in meanwhile go first.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#score(next);
    }
    this.#draining = null;
  }

  async #score({ served, raw, stableScores, stableLatencyMs }: MirroredRequest): Promise<void> {
    const { shadow } = served;
    const wanted = (): boolean =>
      served.route.epoch === this.#line.served?.route.epoch && this.#line.leaseHolds(served);
    if (shadow === null || !wanted()) return;
    let startedMs = performance.now();
    let scores: Float32Array | null = null;
    if (shadow.kind === 'loaded') {
      try {
        const { version } = shadow;
        const rows = version.featurizer.featurize(raw);
        startedMs = performance.now();
        scores = await version.score(rows, SHADOW_DEADLINE_MS);
      } catch {
        // Counted below: what it was does not matter, how often it happens does.
      }
    }
    // A shadow that was taken away while it scored may have failed for that reason alone.
    if (!wanted()) return;
    const copy = { atMs: Date.now(), latencyMs: performance.now() - startedMs, scores, stableScores, stableLatencyMs };
    this.#sums.mirrored(this.#variant(served), copy);
  }

  #variant({ route }: ServedRoute) {
    return { line: route.line, version: route.shadow ?? NaN, arm: 'shadow' as const, epoch: route.epoch };
  }
}
