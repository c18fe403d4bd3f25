import { seededRandom } from '../../data/evaluation/random.ts';

export interface SlateOptions {
  line: string;
  candidates: number;
  limit: number;
  /** Distinct bodies. */
  count: number;
  seed?: number;
}

/** Where the request id stands in every body: it is written anew before each request. */
export const REQUEST_ID = 'r-000000000000';

/**
 * Bodies of `POST /v1/rank` for the features of `ranking-model.ts`, as a feed would send them: few users, items and authors come
 * often, most seldom.
 */
export function slateBodies({ line, candidates, limit, count, seed = 1 }: SlateOptions): string[] {
  const random = seededRandom(seed);
  const often = (many: number): number => Math.floor(many * random() ** 3);
  const round = (value: number, digits: number): number => Number(value.toFixed(digits));
  const candidate = (place: number) => {
    const item = often(2_000) * 500 + place;
    return {
      id: `item-${String(item)}`,
      features: {
        item,
        author: `author-${String(often(20_000))}`,
        category: `category-${String(often(40))}`,
        language: ['en', 'de', 'fr', 'es', 'pt'][often(5)],
        format: ['video', 'image', 'text'][often(3)],
        age_hours: round(random() * 72, 2),
        clicks: Math.floor(random() ** 4 * 5_000),
        shows: Math.floor(random() ** 2 * 100_000),
        rate: round(random() * 0.2, 4),
        quality: random() < 0.05 ? null : round(random(), 3),
        length: Math.floor(random() * 300),
      },
    };
  };
  return Array.from({ length: count }, () => {
    const userId = `user-${String(often(1_000_000))}`;
    return JSON.stringify({
      requestId: REQUEST_ID,
      line,
      userId,
      user: { viewer: userId, country: `c${String(often(60))}`, user_clicks: often(900), user_age_days: often(2_000) },
      context: { device: ['android', 'ios', 'web'][often(3)] },
      candidates: Array.from({ length: candidates }, (_, place) => candidate(place)),
      limit,
    });
  });
}
