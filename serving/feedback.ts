import type { EventLogWriter } from '../data/event-log/writer.ts';
import type { HealthSums } from './health-sums.ts';
import type { GatewayMetrics } from './metrics.ts';
import { RecentKeys } from './recent-keys.ts';
import { RecentLargest } from './recent-largest.ts';
import type { FeedbackEvent } from './requests.ts';
import type { ServedLine } from './served-line.ts';
import type { OpenedImpression, TokenRefusal, Tokens } from './tokens.ts';

export interface FeedbackAnswer {
  accepted: number;
  /** Events that this process has seen before: logged no second time, counted no second time. */
  duplicates: number;
  refused: { impressionId: string; reason: string }[];
}

/** Impressions whose feedback is remembered, to recognise repetitions. */
const REMEMBERED = 200_000;

interface Refusal {
  code: TokenRefusal | 'foreignLine' | 'expired' | 'eventTime' | 'value';
  reason: string;
}

type Genuine = Extract<OpenedImpression, { kind: 'genuine' }>;

/**
 * Takes clicks and dwell for impressions of any gateway with the same keys. Each event stands alone: one that is forged,
 * expired or of a foreign line is refused and the others are taken.
 */
export class FeedbackTaker {
  readonly #options: {
    lines: ReadonlyMap<string, ServedLine>;
    sums: HealthSums;
    log: Pick<EventLogWriter, 'appendFeedback'>;
    tokens: Tokens;
    metrics: GatewayMetrics;
  };
  readonly #seen = new RecentKeys(REMEMBERED);
  readonly #positive = new RecentKeys(REMEMBERED);
  readonly #dwells = new RecentLargest(REMEMBERED);

  constructor(options: {
    lines: ReadonlyMap<string, ServedLine>;
    sums: HealthSums;
    log: Pick<EventLogWriter, 'appendFeedback'>;
    tokens: Tokens;
    metrics: GatewayMetrics;
  }) {
    this.#options = options;
  }

  take(events: readonly FeedbackEvent[]): FeedbackAnswer {
    const answer: FeedbackAnswer = { accepted: 0, duplicates: 0, refused: [] };
    for (const event of events) {
      const outcome = this.#takeOne(event);
      if (outcome === 'accepted') answer.accepted += 1;
      else if (outcome === 'duplicate') answer.duplicates += 1;
      else answer.refused.push({ impressionId: event.impressionId, reason: outcome.reason });
      this.#options.metrics.feedback.inc(
        typeof outcome === 'string' ? { outcome, reason: '' } : { outcome: 'refused', reason: outcome.code },
      );
    }
    return answer;
  }

  #takeOne(event: FeedbackEvent): 'accepted' | 'duplicate' | Refusal {
    const impression = this.#options.tokens.open(event.impressionId);
    if (impression.kind === 'refused') return impression;
    const line = this.#options.lines.get(impression.token.line);
    if (line === undefined) {
      return { code: 'foreignLine', reason: `line "${impression.token.line}" is not served here` };
    }
    const eventTimeMs = line.eventTimeMs(event.eventTimeMs);
    const refused = refusal({ event, impression, line, eventTimeMs });
    if (refused !== null) return refused;
    if (!this.#seen.add(`${event.event}:${String(event.value ?? '')}:${impression.key}`)) return 'duplicate';

    const value = event.event === 'dwell' ? (event.value ?? null) : null;
    const arrivedAtMs = line.arrivalTimeMs(eventTimeMs);
    this.#options.log.appendFeedback([
      { impressionId: impression.key, line: line.line, event: event.event, value, eventTimeMs, arrivedAtMs },
    ]);
    this.#count(event, impression, line);
    return 'accepted';
  }

  /** An impression turns positive once, by the event that the line's label is made of; of its dwells the largest counts. */
  #count(event: FeedbackEvent, { token, score, key }: Genuine, line: ServedLine): void {
    const { label, health } = line.config;
    const { version, arm, epoch, answeredAtMs } = token;
    const variant = { line: line.line, version, arm, epoch };
    const impression = { answeredAtMs, nowMs: Date.now() };
    if (event.event === 'dwell') {
      const dwellMs = Math.min(event.value ?? 0, health.maxDwell);
      const beforeMs = this.#dwells.raise(key, dwellMs);
      this.#options.sums.dwelled(variant, { ...impression, dwellMs, beforeMs });
    }
    const positive = event.event === label.event && (event.event === 'click' || (event.value ?? 0) >= label.minDwell);
    if (positive && this.#positive.add(key)) this.#options.sums.positive(variant, { ...impression, score });
  }
}

function refusal(input: {
  event: FeedbackEvent;
  impression: Genuine;
  line: ServedLine;
  eventTimeMs: number;
}): Refusal | null {
  const { event, impression, line, eventTimeMs } = input;
  const { clock, label } = line.config;
  if (event.eventTimeMs !== undefined && clock !== 'replay') {
    const reason = 'eventTimeMs: only lines whose clock is "replay" take the time from the request; leave it out';
    return { code: 'eventTime', reason };
  }
  if (event.event === 'dwell' && event.value === undefined) {
    return { code: 'value', reason: 'dwell needs a value: the milliseconds' };
  }
  const ageMs = eventTimeMs - impression.token.eventTimeMs;
  if (ageMs > label.tokenTtl) {
    const hours = (ms: number): string => (ms / 3_600_000).toFixed(1);
    const reason = `expired: the impression is ${hours(ageMs)} h old, feedback is taken for ${hours(label.tokenTtl)} h`;
    return { code: 'expired', reason };
  }
  return null;
}
