import type { EventLogWriter } from '../data/event-log/writer.ts';
import type { HealthSums } from './health-sums.ts';
import type { GatewayMetrics } from './metrics.ts';
import { RecentKeys } from './recent-keys.ts';
import type { FeedbackEvent } from './requests.ts';
import type { ServedLine } from './served-line.ts';
import type { OpenedImpression, Tokens } from './tokens.ts';

export interface FeedbackAnswer {
  accepted: number;
  /** Events that this process has seen before: logged no second time, counted no second time. */
  duplicates: number;
  refused: { impressionId: string; reason: string }[];
}

/** Impressions whose feedback is remembered, to recognise repetitions. */
const REMEMBERED = 200_000;

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
      this.#options.metrics.feedback.inc({ outcome: typeof outcome === 'string' ? outcome : 'refused' });
    }
    return answer;
  }

  #takeOne(event: FeedbackEvent): 'accepted' | 'duplicate' | { reason: string } {
    const impression = this.#options.tokens.open(event.impressionId);
    if (impression.kind === 'refused') return impression;
    const line = this.#options.lines.get(impression.token.line);
    if (line === undefined) return { reason: `line "${impression.token.line}" is not served here` };
    const eventTimeMs = line.eventTimeMs(event.eventTimeMs);
    const reason = refusal({ event, impression, line, eventTimeMs });
    if (reason !== null) return { reason };
    if (!this.#seen.add(`${event.event}:${String(event.value ?? '')}:${impression.key}`)) return 'duplicate';

    const value = event.event === 'dwell' ? (event.value ?? null) : null;
    const arrivedAtMs = line.arrivalTimeMs(eventTimeMs);
    this.#options.log.appendFeedback([
      { impressionId: impression.key, line: line.line, event: event.event, value, eventTimeMs, arrivedAtMs },
    ]);
    this.#count(event, impression, line);
    return 'accepted';
  }

  /** An impression turns positive once, by the event that the line's label is made of. */
  #count(event: FeedbackEvent, { token, score, key }: Genuine, line: ServedLine): void {
    const { label } = line.config;
    const positive = event.event === label.event && (event.event === 'click' || (event.value ?? 0) >= label.minDwell);
    if (!positive || !this.#positive.add(key)) return;
    const { version, arm, epoch, answeredAtMs } = token;
    this.#options.sums.positive({ line: line.line, version, arm, epoch }, { answeredAtMs, score, nowMs: Date.now() });
  }
}

function refusal(input: {
  event: FeedbackEvent;
  impression: Genuine;
  line: ServedLine;
  eventTimeMs: number;
}): string | null {
  const { event, impression, line, eventTimeMs } = input;
  const { clock, label } = line.config;
  if (event.eventTimeMs !== undefined && clock !== 'replay') {
    return 'eventTimeMs: only lines whose clock is "replay" take the time from the request; leave it out';
  }
  if (event.event === 'dwell' && event.value === undefined) return 'dwell needs a value: the milliseconds';
  const ageMs = eventTimeMs - impression.token.eventTimeMs;
  if (ageMs > label.tokenTtl) {
    const hours = (ms: number): string => (ms / 3_600_000).toFixed(1);
    return `expired: the impression is ${hours(ageMs)} h old, feedback is taken for ${hours(label.tokenTtl)} h`;
  }
  return null;
}
