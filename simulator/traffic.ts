import type { LineConfig } from '../config/schema.ts';
import { DueQueue } from './due-queue.ts';
import { dayRate, eventTimeAt, operatingTimeAt, withRate, type EventTimeline } from './event-timeline.ts';
import {
  createGatewayClient,
  type FeedbackEvent,
  type GatewayClient,
  type RankAnswer,
  type RankRequest,
} from './gateway-client.ts';
import { createTrafficTally, type TrafficStats } from './traffic-stats.ts';

/** A rank request and when it is due. */
export interface PlannedRequest {
  eventTimeMs: number;
  rank: Omit<RankRequest, 'line' | 'eventTimeMs'>;
}

/** What a user does with an answer, `delayMs` of event time after the request. */
export interface Reaction {
  delayMs: number;
  impressionId: string;
  event: 'click' | 'dwell';
  value?: number;
}

/** Where traffic comes from: a log, or simulated users. */
export interface TrafficSource<Planned extends PlannedRequest = PlannedRequest> {
  /** Event time at which the traffic starts, Unix ms. */
  readonly startMs: number;
  /** The next stretch of requests, in event order and never empty. Sources do not end. */
  next(): Promise<Planned[]>;
  /** What the user of a request does with the answer. */
  react(planned: Planned, answer: RankAnswer): Reaction[];
  /** The source's own counts, shown in the stats. */
  figures(): Record<string, number>;
  close(): Promise<void>;
}

export interface TrafficOptions {
  config: Pick<LineConfig, 'line' | 'clock'>;
  gatewayUrl: string;
  /** Operating time in which one day of event time passes. */
  dayMs: number;
  /** Operating time at which the event time is the source's `startMs`; now when left out. A past time is caught up with. */
  startOperatingMs?: number;
  /** Rank requests under way at once; more than these wait, and are seen as `lagMs`. */
  maxInFlight?: number;
  requestTimeoutMs?: number;
  /** Called with each mapping of the two clocks: at the start, and when the traffic is held, resumed or re-paced. */
  onTimeline?: (timeline: EventTimeline) => void;
  /** The source broke and the traffic stopped by itself. */
  onError?: (error: Error) => void;
  /** Operating time, Unix ms. */
  now?: () => number;
}

/** Live traffic on a gateway. */
export interface Traffic {
  /** Loads the first requests, fixes the timeline and begins to send. */
  start(): Promise<void>;
  /** Sends nothing more, waits for the open requests, sends the feedback that is due; later feedback is dropped. */
  stop(): Promise<TrafficStats>;
  /** Stops event time, and with it requests and feedback, until `resume`. */
  hold(): void;
  resume(): void;
  /** Lets a day pass in another operating time from now on. */
  setDayMs(dayMs: number): void;
  stats(): TrafficStats;
  /** The mapping in force: what belongs into the line's event clock. */
  timeline(): EventTimeline;
}

/** One timer for all: at hundreds of requests a second a timer each would cost more than the requests. */
const TICK_MS = 15;
/** Feedback is collected for about 100 ms and sent together, as collectors do. */
const FEEDBACK_EVERY_TICKS = 7;
const FEEDBACK_BATCH = 200;

/**
 * Sends a source's requests to a gateway when their event time is due, in the source's order, and the users' reactions
 * when those are due. Failed requests are counted and not repeated.
 */
export function createTraffic<Planned extends PlannedRequest>(
  source: TrafficSource<Planned>,
  options: TrafficOptions,
): Traffic {
  return new PacedTraffic(source, options);
}

class PacedTraffic<Planned extends PlannedRequest> implements Traffic {
  readonly #source: TrafficSource<Planned>;
  readonly #options: TrafficOptions;
  readonly #client: GatewayClient;
  readonly #now: () => number;
  readonly #maxInFlight: number;
  readonly #tally = createTrafficTally();
  readonly #feedback = new DueQueue<FeedbackEvent>();
  readonly #open = new Set<Promise<void>>();
  #planned: Planned[] = [];
  #cursor = 0;
  #upcoming: Planned[] | null = null;
  #loading: Promise<void> | null = null;
  #timeline: EventTimeline;
  #rate: number;
  #timer: NodeJS.Timeout | null = null;
  #ticks = 0;

  constructor(source: TrafficSource<Planned>, options: TrafficOptions) {
    this.#source = source;
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#maxInFlight = options.maxInFlight ?? 32;
    this.#rate = dayRate(options.dayMs);
    this.#timeline = { eventMs: source.startMs, operatingMs: this.#now(), rate: 0 };
    this.#client = createGatewayClient({
      url: options.gatewayUrl,
      maxConnections: this.#maxInFlight + 2,
      timeoutMs: options.requestTimeoutMs ?? 10_000,
    });
  }

  async start(): Promise<void> {
    this.#planned = await this.#source.next();
    this.#setTimeline({
      eventMs: this.#source.startMs,
      operatingMs: this.#options.startOperatingMs ?? this.#now(),
      rate: this.#rate,
    });
    this.#timer = setInterval(() => {
      this.#tick();
    }, TICK_MS);
  }

  async stop(): Promise<TrafficStats> {
    this.#stopTicking();
    await Promise.all(this.#open);
    this.#sendDueFeedback(this.#eventNow());
    await Promise.all(this.#open);
    await this.#loading; // a source is not closed under its own read
    this.#client.close();
    await this.#source.close();
    return this.stats();
  }

  hold(): void {
    this.#setTimeline(withRate(this.#timeline, { rate: 0, operatingMs: this.#now() }));
  }

  resume(): void {
    this.#setTimeline(withRate(this.#timeline, { rate: this.#rate, operatingMs: this.#now() }));
  }

  setDayMs(dayMs: number): void {
    this.#rate = dayRate(dayMs);
    if (this.#timeline.rate > 0) this.resume();
  }

  timeline(): EventTimeline {
    return this.#timeline;
  }

  stats(): TrafficStats {
    const due = this.#planned[this.#cursor]?.eventTimeMs ?? Infinity;
    const isLate = due <= this.#eventNow();
    return {
      ...this.#tally.figures(),
      inFlight: this.#open.size,
      feedbackPending: this.#feedback.size,
      lagMs: isLate ? Math.max(0, Math.round(this.#now() - operatingTimeAt(this.#timeline, due))) : 0,
      eventNowMs: Math.round(this.#eventNow()),
      source: this.#source.figures(),
    };
  }

  #tick(): void {
    const eventNow = this.#eventNow();
    for (
      let next = this.#nextPlanned();
      next !== undefined && next.eventTimeMs <= eventNow;
      next = this.#nextPlanned()
    ) {
      if (this.#open.size >= this.#maxInFlight) break;
      this.#cursor += 1;
      this.#track(this.#send(next));
    }
    this.#ticks += 1;
    if (this.#ticks % FEEDBACK_EVERY_TICKS === 0) this.#sendDueFeedback(eventNow);
  }

  #nextPlanned(): Planned | undefined {
    if (this.#cursor >= this.#planned.length && this.#upcoming !== null) {
      this.#planned = this.#upcoming;
      this.#upcoming = null;
      this.#cursor = 0;
    }
    if (this.#upcoming === null) this.#loading ??= this.#load();
    return this.#planned[this.#cursor];
  }

  async #load(): Promise<void> {
    try {
      this.#upcoming = await this.#source.next();
      this.#loading = null;
    } catch (error) {
      // Stays "loading": a source that broke is not asked again.
      this.#stopTicking();
      this.#options.onError?.(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async #send(planned: Planned): Promise<void> {
    const { line } = this.#options.config;
    const startedAt = performance.now();
    try {
      const answer = await this.#client.rank({ line, ...planned.rank, ...this.#stamp(planned.eventTimeMs) });
      this.#tally.answered(answer, performance.now() - startedAt);
      for (const { delayMs, ...reaction } of this.#source.react(planned, answer)) {
        const dueMs = planned.eventTimeMs + delayMs;
        this.#feedback.push(dueMs, { ...reaction, ...this.#stamp(dueMs) });
      }
    } catch (error) {
      this.#tally.failed(error);
    }
  }

  #sendDueFeedback(eventNow: number): void {
    for (
      let due = this.#feedback.takeDue(eventNow, FEEDBACK_BATCH);
      due.length > 0;
      due = this.#feedback.takeDue(eventNow, FEEDBACK_BATCH)
    ) {
      this.#track(this.#deliver(due));
    }
  }

  async #deliver(events: FeedbackEvent[]): Promise<void> {
    try {
      this.#tally.delivered(events, await this.#client.sendFeedback(events));
    } catch (error) {
      this.#tally.undelivered(events, error);
    }
  }

  /** Lines on the wall clock are told no event time. */
  #stamp(eventTimeMs: number): { eventTimeMs?: number } {
    return this.#options.config.clock === 'replay' ? { eventTimeMs: Math.round(eventTimeMs) } : {};
  }

  #track(work: Promise<void>): void {
    this.#open.add(work);
    void work.finally(() => this.#open.delete(work));
  }

  #setTimeline(timeline: EventTimeline): void {
    this.#timeline = timeline;
    this.#options.onTimeline?.(timeline);
  }

  #eventNow(): number {
    return eventTimeAt(this.#timeline, this.#now());
  }

  #stopTicking(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
