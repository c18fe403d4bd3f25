import { Counter, type Metric, type Registry } from 'prom-client';
import { LATENCY_BOUNDS_MS } from './latency-histogram.ts';
import type { Totals } from './variant-totals.ts';

const LABELS = ['line', 'version', 'arm'] as const;

const COUNTERS: readonly { name: string; help: string; value: (totals: Totals) => number }[] = [
  {
    name: 'freshet_variant_requests_total',
    help: 'Requests that a version tried to score in an arm',
    value: ({ requests }) => requests,
  },
  {
    name: 'freshet_variant_errors_total',
    help: 'Of them, those that failed: stable, or the input order, answered instead',
    value: ({ errors }) => errors,
  },
  {
    name: 'freshet_variant_impressions_total',
    help: 'Impressions it answered with',
    value: ({ impressions }) => impressions,
  },
  { name: 'freshet_variant_clicks_total', help: 'Impressions that turned out positive', value: ({ clicks }) => clicks },
  { name: 'freshet_variant_dwells_total', help: 'Impressions with a dwell', value: ({ dwells }) => dwells },
  {
    name: 'freshet_variant_dwell_seconds_total',
    help: 'Sum of the largest dwell of each, bounded by health.maxDwell',
    value: ({ dwellMs }) => dwellMs / 1_000,
  },
  { name: 'freshet_variant_score_total', help: 'Sum of the scores of impressions', value: ({ scoreSum }) => scoreSum },
  {
    name: 'freshet_variant_log_loss_total',
    help: 'Sum of -ln(1 - score) of impressions, and of -ln(score) of positive ones; less freshet_variant_log_loss_retracted_total it is the log loss',
    value: ({ logLoss }) => logLoss,
  },
  {
    name: 'freshet_variant_log_loss_retracted_total',
    help: 'Sum of the -ln(1 - score) that positive impressions had been counted with',
    value: ({ logLossRetracted }) => logLossRetracted,
  },
];

/** Registers what a canary is judged by, for each line, version and arm: made of the totals when it is scraped. */
export function registerVariantMetrics(register: Registry, scrape: () => readonly Totals[]): void {
  for (const { name, help, value } of COUNTERS) {
    new Counter({
      ...{ name, help, labelNames: LABELS, registers: [register] },
      collect() {
        this.reset();
        for (const totals of scrape()) this.inc(labelsOf(totals), value(totals));
      },
    });
  }
  register.registerMetric(scoringHistogram(scrape));
}

/** prom-client's own histogram counts observations one by one; the registry needs no more of a metric than this. */
function scoringHistogram(scrape: () => readonly Totals[]): Metric {
  const name = 'freshet_variant_seconds';
  const histogram = {
    ...{ name, type: 'histogram', aggregator: 'sum' },
    help: 'Time a version took to score a request, failed ones included',
    reset: () => undefined,
    get: () => Promise.resolve({ ...histogram, values: scrape().flatMap((totals) => seriesOf(name, totals)) }),
  };
  return histogram as unknown as Metric;
}

function seriesOf(
  name: string,
  totals: Totals,
): { metricName: string; labels: Record<string, string>; value: number }[] {
  const labels = labelsOf(totals);
  let counted = 0;
  const buckets = totals.latencyBuckets.map((more, index) => {
    const bound = LATENCY_BOUNDS_MS[index];
    const le = bound === undefined ? '+Inf' : String(bound / 1_000);
    return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: (counted += more) };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: totals.latencyMs / 1_000 },
    { metricName: `${name}_count`, labels, value: counted },
  ];
}

function labelsOf({ line, version, arm }: Totals): Record<(typeof LABELS)[number], string> {
  return { line, version: String(version), arm };
}
