import { DAY_MS } from './event-timeline.ts';
import { seededRandom } from './seeded-random.ts';

/**
 * A news feed's users, articles and days as functions of a seed and an event time: nothing is stored or advanced, so
 * any moment can be asked for, and two runs with the same seed meet the same world whatever they rank.
 */
export interface FeedWorld {
  /** Users that come in the minute that begins at `minuteMs`, in the order they come. */
  visits(minuteMs: number): { atMs: number; user: number }[];
  /** Articles that can be shown at a time, newest first. */
  articlesAlive(atMs: number): Article[];
  /** Probability that a user who looks at an article clicks it: what a ranking model is after. */
  relevance(view: { user: number; article: Article; atMs: number }): number;
  /** What may be known before the article is shown, as raw values of the rank request. */
  observe(view: { user: number; article: Article; atMs: number }): ObservedArticle;
}

export interface Article {
  id: string;
  publishedMs: number;
  expiresMs: number;
  topic: number;
  author: number;
  quality: number;
  /** Hours until its appeal has fallen by half in the logit. */
  halfLifeHours: number;
}

/** The article's side of the features that the simulated feed offers. */
export interface ObservedArticle {
  article_id: string;
  topic: string;
  author_id: string;
  age_hours: number;
  /** Clicks the article has had elsewhere on the site: it knows no position. */
  clicks_so_far: number;
  /** The user's interest in the topic, estimated on the days before: late and noisy. */
  topic_affinity: number;
}

/** Fields by the part of the rank request that carries them. */
export const FEED_FIELDS = {
  user: ['user_id'],
  context: ['hour_of_day'],
  candidate: ['article_id', 'topic', 'author_id', 'age_hours', 'clicks_so_far', 'topic_affinity'],
} as const;

export interface FeedWorldOptions {
  seed: number;
  users: number;
  /** Mean visits of an event day; the day's rhythm spreads them. */
  visitsPerDay: number;
  articlesPerHour: number;
}

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const TOPICS = 10;
const AUTHORS = 120;
/** The longest an article lives. */
const MAX_LIFE_HOURS = 36;
/** Clicks of one who looks at an average article of no interest: about one in six. */
const BASE_LOGIT = -1.6;

export function createFeedWorld({ seed, users, visitsPerDay, articlesPerHour }: FeedWorldOptions): FeedWorld {
  const cumulativeActivity = cumulate(
    Array.from({ length: users }, (_, user) => seededRandom(seed, 'activity', user).logNormal(1, 0.7)),
  );
  const tastes = Array.from({ length: users * TOPICS }, (_, index) => {
    const random = seededRandom(seed, 'taste', index);
    return { level: 1.1 * random.normal(), swing: swing(random, { amplitude: 0.9, days: [2, 8] }) };
  });
  const moods = Array.from({ length: TOPICS }, (_, topic) =>
    swing(seededRandom(seed, 'mood', topic), { amplitude: 0.7, days: [1.5, 4] }),
  );
  const authorQualities = Array.from(
    { length: AUTHORS },
    (_, author) => 0.7 * seededRandom(seed, 'author', author).normal(),
  );

  const taste = (user: number, topic: number, atMs: number): number => {
    const found = tastes[user * TOPICS + topic];
    return found === undefined ? 0 : found.level + found.swing(atMs);
  };

  const articlesOfHour = remember((hour: number): Article[] => {
    const random = seededRandom(seed, 'articles', hour);
    const published = random.poisson(articlesPerHour * rhythm(hour * HOUR_MS));
    const articles = Array.from({ length: published }, (_, index) => {
      const author = Math.floor(random.uniform() * AUTHORS);
      const publishedMs = Math.floor((hour + random.uniform()) * HOUR_MS);
      const halfLifeHours = Math.min(MAX_LIFE_HOURS / 3, random.logNormal(5, 0.5));
      return {
        id: `a${hour}-${index}`,
        publishedMs,
        expiresMs: publishedMs + 3 * halfLifeHours * HOUR_MS,
        topic: Math.floor(random.uniform() * TOPICS),
        author,
        quality: (authorQualities[author] ?? 0) + 0.6 * random.normal(),
        halfLifeHours,
      };
    });
    return articles.sort((a, b) => b.publishedMs - a.publishedMs);
  }, MAX_LIFE_HOURS + 12);

  return {
    visits(minuteMs) {
      const random = seededRandom(seed, 'visits', minuteMs);
      const count = random.poisson((visitsPerDay / 1_440) * rhythm(minuteMs));
      const visits = Array.from({ length: count }, () => ({
        atMs: minuteMs + Math.floor(random.uniform() * MINUTE_MS),
        user: pick(cumulativeActivity, random.uniform()),
      }));
      return visits.sort((a, b) => a.atMs - b.atMs);
    },

    articlesAlive(atMs) {
      const hour = Math.floor(atMs / HOUR_MS);
      return Array.from({ length: MAX_LIFE_HOURS + 1 }, (_, age) => articlesOfHour(hour - age))
        .flat()
        .filter(({ publishedMs, expiresMs }) => publishedMs <= atMs && atMs < expiresMs);
    },

    relevance({ user, article, atMs }) {
      const { topic, author, quality, halfLifeHours } = article;
      const age = (atMs - article.publishedMs) / HOUR_MS;
      const liking = 0.4 * seededRandom(seed, 'liking', user, author).normal();
      return sigmoid(
        BASE_LOGIT +
          taste(user, topic, atMs) +
          (moods[topic]?.(atMs) ?? 0) +
          quality +
          liking -
          (Math.LN2 * age) / halfLifeHours,
      );
    },

    observe({ user, article, atMs }) {
      const { id, topic, author, quality, halfLifeHours, publishedMs } = article;
      const age = (atMs - publishedMs) / HOUR_MS;
      const audience = seededRandom(seed, 'audience', id).logNormal(60, 0.5);
      const day = Math.floor(atMs / DAY_MS);
      const noise = 0.6 * seededRandom(seed, 'affinity', user, topic, day).normal();
      return {
        article_id: id,
        topic: `t${topic}`,
        author_id: `w${author}`,
        age_hours: round(age),
        clicks_so_far: Math.floor(
          audience * sigmoid(BASE_LOGIT + quality) * halfLifeHours * (1 - 2 ** (-age / halfLifeHours)),
        ),
        topic_affinity: round(taste(user, topic, atMs - DAY_MS) + noise),
      };
    },
  };
}

/** Share of readers that look as far down as `rank` (0 is the top): the position bias. */
export function examination(rank: number): number {
  return (rank + 1) ** -0.6;
}

/** How busy a moment is: 1 on average over a day, quiet at four in the morning, full at eight in the evening. */
function rhythm(atMs: number): number {
  const hour = (atMs % DAY_MS) / HOUR_MS;
  return 1 + 0.55 * Math.cos((2 * Math.PI * (hour - 17)) / 24) + 0.2 * Math.cos((4 * Math.PI * (hour - 20.5)) / 24);
}

type Random = ReturnType<typeof seededRandom>;

/** A slow oscillation: tastes that drift, but not away. */
function swing(
  random: Random,
  { amplitude, days }: { amplitude: number; days: [number, number] },
): (atMs: number) => number {
  const period = (days[0] + (days[1] - days[0]) * random.uniform()) * DAY_MS;
  const phase = random.uniform();
  return (atMs) => amplitude * Math.sin(2 * Math.PI * (atMs / period + phase));
}

function cumulate(weights: readonly number[]): Float64Array {
  const sums = new Float64Array(weights.length);
  let sum = 0;
  for (const [index, weight] of weights.entries()) sums[index] = sum += weight;
  return sums;
}

/** Index of the weight in which a share of all the weights falls. */
function pick(cumulative: Float64Array, share: number): number {
  const wanted = share * (cumulative.at(-1) ?? 0);
  let low = 0;
  let high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((cumulative[middle] ?? 0) > wanted) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Keeps the values of the keys asked for last. */
function remember<T>(compute: (key: number) => T, kept: number): (key: number) => T {
  const values = new Map<number, T>();
  return (key) => {
    const value = values.get(key) ?? compute(key);
    values.delete(key);
    values.set(key, value);
    const oldest = values.keys().next().value;
    if (values.size > kept && oldest !== undefined) values.delete(oldest);
    return value;
  };
}

function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
