/**
 * Upper bounds of the latency buckets in milliseconds; one more bucket holds what is slower than the last. The counts in
 * `health_sums.latency_buckets` stand in this order.
 */
export const LATENCY_BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000] as const;

export function emptyLatencyHistogram(): number[] {
  return new Array<number>(LATENCY_BOUNDS_MS.length + 1).fill(0);
}

/** Adds one observation to `counts`, in place. */
export function observeLatency(counts: number[], latencyMs: number): void {
  const found = LATENCY_BOUNDS_MS.findIndex((bound) => latencyMs <= bound);
  const index = found < 0 ? LATENCY_BOUNDS_MS.length : found;
  counts[index] = (counts[index] ?? 0) + 1;
}
