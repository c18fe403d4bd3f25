import type { LineConfig } from '../config/schema.ts';
import { DAY_MS } from './event-timeline.ts';
import type { RankAnswer } from './gateway-client.ts';
import { LogError } from './log-columns.ts';
import { openLog, type LoggedRequest, type LogReader } from './log-reader.ts';
import { seededRandom } from './seeded-random.ts';
import {
  createTraffic,
  type PlannedRequest,
  type Reaction,
  type Traffic,
  type TrafficOptions,
  type TrafficSource,
} from './traffic.ts';

export interface ReplayerOptions extends Omit<TrafficOptions, 'config'> {
  /** A Parquet or CSV file, a glob, or a folder with one Parquet file. */
  log: string;
  config: LineConfig;
  /** Marks the request ids and draws the delays of clicks; the log's order stays the log's. */
  seed: number;
  /** Event time to start at, Unix ms; the log's first row when left out. */
  startAtMs?: number;
}

export interface Replayer extends Traffic {
  readonly log: Pick<LogReader, 'path' | 'rows' | 'unusableRows' | 'firstMs' | 'lastMs'>;
}

interface PlannedReplay extends PlannedRequest {
  logged: LoggedRequest;
  /** How often the log had ended before. */
  wrap: number;
}

/** Read ahead by this much event time: four queries a day, and a quarter of a day in memory (twice). */
const STRETCH_MS = DAY_MS / 4;
/** Where the log does not say how long an item was looked at, clicks come after about this. */
const CLICK_DELAY_MEDIAN_MS = 20_000;
const CLICK_DELAY_SIGMA = 0.8;

/**
 * Replays a log as live traffic: each request when its event time is due, in the log's order, and its clicks after the
 * time the user spent on the item. Where the log ends, its last 24 hours come again, shifted by whole days
 * (`source.wraps` in the stats counts how often).
 *
 * A replayed log answers the same whatever the ranking: the items of a request are all shown and those clicked that
 * were clicked in the log.
 *
 * @throws LogError when the log can not be replayed with this config.
 */
export async function createReplayer({
  log: path,
  config,
  seed,
  startAtMs,
  ...options
}: ReplayerOptions): Promise<Replayer> {
  const reader = await openLog({ path, config });
  try {
    const startMs = startAtMs ?? reader.firstMs;
    if (startMs > reader.lastMs) {
      const ends = `the log ${reader.path} ends at ${time(reader.lastMs)}`;
      throw new LogError(`the replay can not start at ${time(startMs)}: ${ends}`);
    }
    const traffic = createTraffic(replaySource({ reader, config, seed, startMs }), { ...options, config });
    return Object.assign(traffic, { log: reader });
  } catch (error) {
    reader.close();
    throw error;
  }
}

function replaySource({
  reader,
  config,
  seed,
  startMs,
}: {
  reader: LogReader;
  config: LineConfig;
  seed: number;
  startMs: number;
}): TrafficSource<PlannedReplay> {
  const endMs = reader.lastMs + 1;
  let position = startMs;
  let wrap = 0;
  // Of answered requests: what was only read ahead is not counted.
  const answered = { repeatedItems: 0, wraps: 0 };

  const plan = (logged: LoggedRequest): PlannedReplay => {
    const eventTimeMs = logged.eventTimeMs + wrap * DAY_MS;
    const { userId, user, context, candidates } = logged;
    return {
      eventTimeMs,
      logged,
      wrap,
      rank: { requestId: `${seed}-${eventTimeMs}-${userId}`, userId, user, context, candidates },
    };
  };

  const nextStretch = async (): Promise<PlannedReplay[]> => {
    if (position >= endMs) {
      wrap += 1;
      position = Math.max(reader.firstMs, endMs - DAY_MS);
    }
    const fromMs = position;
    position = Math.min(endMs, fromMs + STRETCH_MS);
    return (await reader.read(fromMs, position)).map(plan);
  };

  return {
    startMs,
    async next() {
      for (;;) {
        const planned = await nextStretch();
        if (planned.length > 0) return planned;
      }
    },
    react({ logged, wrap: wraps, rank }, answer) {
      answered.repeatedItems += logged.repeatedItems;
      answered.wraps = Math.max(answered.wraps, wraps);
      return reactionsOf({ logged, answer, config, seed, requestId: rank.requestId });
    },
    figures: () => ({ rows: reader.rows, unusableRows: reader.unusableRows, ...answered }),
    close: () => {
      reader.close();
      return Promise.resolve();
    },
  };
}

function reactionsOf({
  logged,
  answer,
  config,
  seed,
  requestId,
}: {
  logged: LoggedRequest;
  answer: RankAnswer;
  config: LineConfig;
  seed: number;
  requestId: string;
}): Reaction[] {
  const reactions: Reaction[] = [];
  for (const { id, impressionId } of answer.items) {
    const outcome = logged.outcomes.get(id);
    if (outcome === undefined) continue;
    const { clicked, dwellMs } = outcome;
    const random = seededRandom(seed, 'delay', requestId, id);
    const watchedMs =
      dwellMs !== null && dwellMs > 0 ? dwellMs : random.logNormal(CLICK_DELAY_MEDIAN_MS, CLICK_DELAY_SIGMA);
    const delayMs = watchedMs + 200 + 1_800 * random.uniform(); // the way to the collector
    if (clicked) reactions.push({ delayMs, impressionId, event: 'click' });
    if (config.label.event === 'dwell' && dwellMs !== null)
      reactions.push({ delayMs, impressionId, event: 'dwell', value: dwellMs });
  }
  return reactions;
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
