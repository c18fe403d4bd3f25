import type { LineConfig } from '../config/schema.ts';
import { createFeedWorld, examination, FEED_FIELDS, type Article, type FeedWorld } from './feed-world.ts';
import type { RankAnswer } from './gateway-client.ts';
import { openOutcomeTable, type OutcomeTable } from './outcome-table.ts';
import { seededRandom } from './seeded-random.ts';
import {
  createTraffic,
  type PlannedRequest,
  type Reaction,
  type Traffic,
  type TrafficOptions,
  type TrafficSource,
} from './traffic.ts';

export interface FeedOptions extends Omit<TrafficOptions, 'config'> {
  config: LineConfig;
  /** The same seed gives the same users, articles and visits, and the same clicks on the same ranking. */
  seed: number;
  /** Event time to start at, Unix ms; a Monday's midnight when left out. */
  startAtMs?: number;
  users?: number;
  /** Rank requests of an event day. */
  visitsPerDay?: number;
  articlesPerHour?: number;
  /** Candidates of a request. */
  candidates?: { min: number; max: number };
  /** Articles shown of them. */
  slate?: number;
  /**
   * Folder for what is known only after an article was shown: Parquet files with `user_id, article_id, event_time_ms,
   * clicked, read_ratio`, one row an impression. A model trained on `read_ratio` looks brilliant and is useless: it is the joined
   * post-click feature of the training/serving skew.
   */
  outcomesFolder?: string;
}

/** Where the feed starts unless told otherwise: Monday, 6 January 2025, 00:00 UTC. */
export const FEED_START_MS = Date.UTC(2025, 0, 6);

interface PlannedVisit extends PlannedRequest {
  user: number;
  articles: Map<string, Article>;
}

/** Share of the clicks that leave at once, and so read no more than those who only look at the teaser. */
const BOUNCE_SHARE = 0.1;
const MINUTE_MS = 60_000;
/** Requests are planned this far ahead. */
const STRETCH_MS = 10 * MINUTE_MS;

/**
 * A simulated feed as live traffic: users come with the day's rhythm, are shown the slate the gateway ranks, look at it
 * from the top with falling attention and click what suits them. So a better ranking earns more clicks.
 *
 * @throws Error when a feature of the config needs a field that the feed does not have.
 */
export async function createFeed({ config, seed, outcomesFolder, ...options }: FeedOptions): Promise<Traffic> {
  requireKnownFields(config);
  const outcomes = outcomesFolder === undefined ? null : await openOutcomeTable(outcomesFolder);
  return createTraffic(feedSource({ config, seed, outcomes, options }), { ...options, config });
}

function requireKnownFields({ line, features }: LineConfig): void {
  for (const feature of features) {
    const field = feature.field ?? feature.name;
    const isJoined = feature.kind === 'numeric' && feature.joined !== undefined;
    const known: readonly string[] = FEED_FIELDS[feature.from];
    if (!isJoined && !known.includes(field)) {
      throw new Error(
        `feature "${feature.name}" of the line "${line}" needs the field "${field}" of the ${feature.from}: ` +
          `the simulated feed has ${known.join(', ')} there`,
      );
    }
  }
}

/** The feed's requests and what its users do with the answers, without the traffic around them. */
export function feedSource({
  config,
  seed,
  outcomes,
  options,
}: {
  config: Pick<LineConfig, 'label'>;
  seed: number;
  outcomes: OutcomeTable | null;
  options: Pick<FeedOptions, 'startAtMs' | 'users' | 'visitsPerDay' | 'articlesPerHour' | 'candidates' | 'slate'>;
}): TrafficSource<PlannedVisit> {
  const {
    users = 2_000,
    visitsPerDay = 4_000,
    articlesPerHour = 25,
    candidates = { min: 20, max: 40 },
    slate = 5,
  } = options;
  const startMs = options.startAtMs ?? FEED_START_MS;
  const world = createFeedWorld({ seed, users, visitsPerDay, articlesPerHour });
  let position = Math.floor(startMs / MINUTE_MS) * MINUTE_MS;

  const planMinute = (minuteMs: number): PlannedVisit[] => {
    const alive = world.articlesAlive(minuteMs);
    return world
      .visits(minuteMs)
      .filter(({ atMs }) => atMs >= startMs)
      .map(({ atMs, user }, index) => planVisit({ world, seed, alive, candidates, slate, atMs, user, index }));
  };

  return {
    startMs,
    next() {
      const planned: PlannedVisit[] = [];
      while (planned.length === 0) {
        const untilMs = position + STRETCH_MS;
        for (; position < untilMs; position += MINUTE_MS) planned.push(...planMinute(position));
      }
      return Promise.resolve(planned);
    },
    react(planned, answer) {
      return reactionsOf({ world, seed, planned, answer, withDwell: config.label.event === 'dwell', outcomes });
    },
    figures: () => ({ outcomeRows: outcomes?.rows() ?? 0 }),
    close: async () => {
      await outcomes?.close();
    },
  };
}

interface Visit {
  world: FeedWorld;
  seed: number;
  /** Newest first. */
  alive: readonly Article[];
  candidates: { min: number; max: number };
  slate: number;
  atMs: number;
  user: number;
  index: number;
}

function planVisit({ world, seed, alive, candidates, slate, atMs, user, index }: Visit): PlannedVisit {
  const random = seededRandom(seed, 'visit', atMs, user, index);
  // Selection sampling keeps their order: newest first, as a feed without a model shows them.
  let left = candidates.min + Math.floor(random.uniform() * (candidates.max - candidates.min + 1));
  const shown = alive.filter((_, place) => random.uniform() * (alive.length - place) < left && left-- > 0);
  const articles = new Map(shown.map((article) => [article.id, article]));
  const userId = `u${user}`;
  return {
    eventTimeMs: atMs,
    user,
    articles,
    rank: {
      requestId: `${seed}-${atMs}-${userId}-${index}`,
      userId,
      user: { user_id: userId },
      context: { hour_of_day: new Date(atMs).getUTCHours() },
      candidates: [...articles.values()].map((article) => ({
        id: article.id,
        features: { ...world.observe({ user, article, atMs }) },
      })),
      limit: slate,
    },
  };
}

function reactionsOf({
  world,
  seed,
  planned: { user, articles, eventTimeMs, rank },
  answer,
  withDwell,
  outcomes,
}: {
  world: FeedWorld;
  seed: number;
  planned: PlannedVisit;
  answer: RankAnswer;
  withDwell: boolean;
  outcomes: OutcomeTable | null;
}): Reaction[] {
  const reactions: Reaction[] = [];
  for (const [place, { id, impressionId }] of answer.items.entries()) {
    const article = articles.get(id);
    if (article === undefined) continue;
    // Drawn by request and article, not in turn: the same article at the same place is clicked whatever stands around it.
    const random = seededRandom(seed, 'reaction', rank.requestId, id);
    const looks = random.uniform() < examination(place);
    const likes = random.uniform() < world.relevance({ user, article, atMs: eventTimeMs });
    const clicked = looks && likes;
    const readMs = random.logNormal(20_000, 0.8);
    const reads = clicked && random.uniform() > BOUNCE_SHARE;
    const readRatio = reads ? 0.1 + 0.9 * random.uniform() : Number(looks) * 0.04 * random.uniform();
    outcomes?.append({ userId: rank.userId, articleId: id, eventTimeMs, clicked, readRatio });
    if (clicked) reactions.push({ delayMs: readMs, impressionId, event: 'click' });
    if (clicked && withDwell)
      reactions.push({ delayMs: readMs, impressionId, event: 'dwell', value: Math.round(readMs) });
  }
  return reactions;
}
