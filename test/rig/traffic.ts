import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';

/** Live traffic on a test's gateway: users who click the more likely the larger an item's `x` is. */
export interface TestTraffic {
  stats: { requests: number; failed: number; impressions: number; byArm: Record<string, number> };
  /** From now on an item is clicked the more likely the larger its `x` is, or the smaller where the slope is below 0. */
  setClickSlope(slope: number): void;
  /** Resolves when that many impressions were served since the start. */
  untilImpressions(count: number): Promise<void>;
  stop(): Promise<void>;
}

const EVERY_MS = 12;
const CANDIDATES = 4;

const answerSchema = z.object({
  arm: z.string(),
  token: z.string(),
  items: z.array(z.object({ id: z.string(), position: z.number() })),
});

/** About 80 requests of 4 candidates a second, each with its clicks right after the answer. */
export function startTraffic({ url, line }: { url: string; line: string }): TestTraffic {
  const stats: TestTraffic['stats'] = { requests: 0, failed: 0, impressions: 0, byArm: {} };
  const random = mulberry32(42);
  const open = new Set<Promise<void>>();
  let stopped = false;
  let clickSlope = 1;
  const timer = setInterval(() => {
    if (open.size >= 16) return;
    const request = visit().finally(() => open.delete(request));
    open.add(request);
  }, EVERY_MS);

  async function visit(): Promise<void> {
    const number = (stats.requests += 1);
    const candidates = Array.from({ length: CANDIDATES }, (_, index) => ({
      id: `item-${String(number)}-${String(index)}`,
      features: { topic: `topic-${String(Math.floor(random() * 20))}`, x: random() * 4 - 2 },
    }));
    try {
      const answer = answerSchema.parse(
        await post(`${url}/v1/rank`, {
          line,
          requestId: `request-${String(number)}`,
          userId: `user-${String(Math.floor(random() * 500))}`,
          candidates,
        }),
      );
      stats.impressions += answer.items.length;
      stats.byArm[answer.arm] = (stats.byArm[answer.arm] ?? 0) + 1;
      const xOf = new Map(candidates.map(({ id, features }) => [id, features.x]));
      const events = answer.items
        .filter(({ id }) => random() < 1 / (1 + Math.exp(-clickSlope * (xOf.get(id) ?? 0))))
        .map(({ position }) => ({ impressionId: `${answer.token}.${String(position)}`, event: 'click' }));
      if (events.length > 0) await post(`${url}/v1/feedback`, { events });
    } catch {
      if (!stopped) stats.failed += 1;
    }
  }

  return {
    stats,
    setClickSlope(slope) {
      clickSlope = slope;
    },
    async untilImpressions(count) {
      while (stats.impressions < count) await wait(20);
    },
    async stop() {
      stopped = true;
      clearInterval(timer);
      await Promise.all(open);
    },
  };
}

async function post(url: string, body: unknown): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url} answered ${String(response.status)}: ${await response.text()}`);
  return response.json();
}

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
