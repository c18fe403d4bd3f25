import type { Arm } from '../store/health-sums.ts';
import type { Route } from '../store/types.ts';
import { emptyLatencyHistogram } from './latency-histogram.ts';

export interface TotalsVariant {
  line: string;
  version: number;
  arm: Arm;
}

/** What one version did in one arm since its series began. Nothing in it falls, as Prometheus wants of counters. */
export interface Totals extends TotalsVariant {
  requests: number;
  errors: number;
  impressions: number;
  clicks: number;
  scoreSum: number;
  /** Of impressions as if nobody clicked them, and of clicked ones as such; `retracted` is what the former were counted by. */
  logLoss: number;
  logLossRetracted: number;
  dwells: number;
  dwellMs: number;
  latencyMs: number;
  latencyBuckets: number[];
}

/** Prometheus has scraped the last of it by then, and looks back five minutes at the most without being asked to. */
const KEEP_MS = 600_000;

/**
 * The health sums of this process added up by line, version and arm, to be scraped. Variants that are routed have their
 * totals, of zeros at first; others are forgotten ten minutes after the last thing that was counted, so that their number
 * does not grow with each version.
 */
export class VariantTotals {
  readonly #totals = new Map<string, { totals: Totals; touchedMs: number }>();
  readonly #routed: () => Iterable<TotalsVariant>;
  readonly #onForgotten: (variant: TotalsVariant) => void;

  /** @param options.routed what requests and copies may be counted for by the routes in force. */
  constructor(options: {
    routed: () => Iterable<TotalsVariant>;
    onForgotten?: ((variant: TotalsVariant) => void) | undefined;
  }) {
    this.#routed = options.routed;
    this.#onForgotten = options.onForgotten ?? (() => undefined);
  }

  /** Those of a variant that a request was just counted for. */
  of(variant: TotalsVariant, nowMs: number): Totals {
    const key = keyOf(variant);
    let entry = this.#totals.get(key);
    if (entry === undefined) {
      entry = { totals: emptyTotals(variant), touchedMs: nowMs };
      this.#totals.set(key, entry);
    }
    entry.touchedMs = nowMs;
    return entry.totals;
  }

  /** Those that feedback belongs to; null once they are forgotten, since a series would begin anew with it. */
  ofFeedback(variant: TotalsVariant, nowMs: number): Totals | null {
    const key = keyOf(variant);
    if (this.#totals.has(key)) return this.of(variant, nowMs);
    for (const routed of this.#routed()) if (keyOf(routed) === key) return this.of(variant, nowMs);
    return null;
  }

  /** All there are. */
  scrape(nowMs: number): Totals[] {
    this.forget(nowMs);
    return [...this.#totals.values()].map(({ totals }) => totals);
  }

  forget(nowMs: number): void {
    for (const variant of this.#routed()) this.of(variant, nowMs);
    for (const [key, { totals, touchedMs }] of this.#totals) {
      if (nowMs - touchedMs <= KEEP_MS) continue;
      this.#totals.delete(key);
      this.#onForgotten(totals);
    }
  }
}

/** What requests and their copies are counted for under a route. */
export function variantsOf({ line, stable, canary, holdback, holdbackVersion, shadow }: Route): TotalsVariant[] {
  return [
    { line, version: stable, arm: 'stable' },
    { line, version: stable, arm: 'exploration' },
    ...(holdback > 0 ? [{ line, version: holdbackVersion ?? stable, arm: 'holdback' as const }] : []),
    ...(canary === null ? [] : [{ line, version: canary, arm: 'canary' as const }]),
    ...(shadow === null ? [] : [{ line, version: shadow, arm: 'shadow' as const }]),
  ];
}

function keyOf({ line, version, arm }: TotalsVariant): string {
  return `${line}/${String(version)}/${arm}`;
}

function emptyTotals({ line, version, arm }: TotalsVariant): Totals {
  return {
    ...{ line, version, arm },
    ...{ requests: 0, errors: 0, impressions: 0, clicks: 0, scoreSum: 0, logLoss: 0, logLossRetracted: 0 },
    ...{ dwells: 0, dwellMs: 0, latencyMs: 0, latencyBuckets: emptyLatencyHistogram() },
  };
}
