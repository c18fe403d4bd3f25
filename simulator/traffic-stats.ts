import type { FeedbackAnswer, FeedbackEvent, RankAnswer } from './gateway-client.ts';

/** What a traffic has done so far. Counts are since its start. */
export interface TrafficStats {
  /** Rank requests that were answered or failed. */
  requests: number;
  /** Rank requests without a usable answer: a status other than 2xx, a broken connection, no answer in time. */
  failed: number;
  impressions: number;
  /** Clicks that the gateway accepted. */
  clicks: number;
  feedbackAccepted: number;
  feedbackDuplicates: number;
  feedbackRefused: number;
  /** Events that could not be delivered. */
  feedbackFailed: number;
  /** Reactions that are not due yet. */
  feedbackPending: number;
  /** Answers by version, as `v3 canary`. */
  answeredBy: Record<string, number>;
  inFlight: number;
  /** Operating ms by which the oldest request that is due but not sent is late; 0 when none is. */
  lagMs: number;
  eventNowMs: number;
  /** Of the latest 4,096 answers, in ms; null before the first. */
  latencyMs: { p50: number; p95: number; p99: number; max: number } | null;
  /** The first different messages of what failed or was refused. */
  problems: string[];
  /** The source's own counts, such as `wraps` of a log. */
  source: Record<string, number>;
}

type Tallied = Omit<TrafficStats, 'inFlight' | 'feedbackPending' | 'lagMs' | 'eventNowMs' | 'source'>;

/** Counts what happens to requests and feedback. */
export interface TrafficTally {
  answered(answer: RankAnswer, latencyMs: number): void;
  failed(error: unknown): void;
  delivered(events: readonly FeedbackEvent[], answer: FeedbackAnswer): void;
  undelivered(events: readonly FeedbackEvent[], error: unknown): void;
  figures(): Tallied;
}

const PROBLEMS_KEPT = 5;
const LATENCIES_KEPT = 4_096;

export function createTrafficTally(): TrafficTally {
  const counts = { requests: 0, failed: 0, impressions: 0, clicks: 0 };
  const feedback = { feedbackAccepted: 0, feedbackDuplicates: 0, feedbackRefused: 0, feedbackFailed: 0 };
  const answeredBy: Record<string, number> = {};
  const problems = new Set<string>();
  const latencies = new Float64Array(LATENCIES_KEPT);
  let measured = 0;

  const note = (problem: string): void => {
    if (problems.size < PROBLEMS_KEPT) problems.add(problem);
  };

  return {
    answered({ version, arm, items }, latencyMs) {
      const by = `v${version} ${arm}`;
      answeredBy[by] = (answeredBy[by] ?? 0) + 1;
      counts.requests += 1;
      counts.impressions += items.length;
      latencies[measured++ % LATENCIES_KEPT] = latencyMs;
    },

    failed(error) {
      counts.requests += 1;
      counts.failed += 1;
      note(messageOf(error));
    },

    delivered(events, { accepted, duplicates, refused }) {
      const refusedIds = new Set(refused.map(({ impressionId }) => impressionId));
      const clicks = events.filter(({ event, impressionId }) => event === 'click' && !refusedIds.has(impressionId));
      counts.clicks += clicks.length;
      feedback.feedbackAccepted += accepted;
      feedback.feedbackDuplicates += duplicates;
      feedback.feedbackRefused += refused.length;
      for (const { reason } of refused) note(`feedback refused: ${reason}`);
    },

    undelivered(events, error) {
      feedback.feedbackFailed += events.length;
      note(messageOf(error));
    },

    figures() {
      const latencyMs = quantiles(latencies.subarray(0, Math.min(measured, LATENCIES_KEPT)));
      return { ...counts, ...feedback, answeredBy: { ...answeredBy }, latencyMs, problems: [...problems] };
    },
  };
}

function quantiles(values: Float64Array): TrafficStats['latencyMs'] {
  if (values.length === 0) return null;
  const sorted = values.slice().sort();
  const at = (share: number): number =>
    Math.round((sorted[Math.floor(share * (sorted.length - 1))] ?? NaN) * 100) / 100;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
