import { setTimeout as wait } from 'node:timers/promises';
import { createGatewayClient } from '../../simulator/gateway-client.ts';

/** Live traffic on a test's gateway: users who click the more likely the larger an item's `x` is. */
export interface TestTraffic {
  stats: { requests: number; failed: number; impressions: number; byArm: Record<string, number> };
  /** From now on an item is clicked the more likely the larger its `x` is, or the smaller where the slope is below 0. */
  setClickSlope(slope: number): void;
  /** Resolves when that many impressions were served since the start. */
  untilImpressions(count: number): Promise<void>;
  stop(): Promise<void>;
}

const EVERY_MS = 20;
const CANDIDATES = 4;
const AT_ONCE = 16;

/** 50 requests of 4 candidates a second unless said otherwise, each with its clicks right after the answer. */
export function startTraffic({
  url,
  line,
  everyMs = EVERY_MS,
}: {
  url: string;
  line: string;
  everyMs?: number;
}): TestTraffic {
  const stats: TestTraffic['stats'] = { requests: 0, failed: 0, impressions: 0, byArm: {} };
  const gateway = createGatewayClient({ url, maxConnections: AT_ONCE, timeoutMs: 10_000 });
  const random = mulberry32(42);
  const open = new Set<Promise<void>>();
  let stopped = false;
  let clickSlope = 1;
  const timer = setInterval(() => {
    if (open.size >= AT_ONCE) return;
    const request = visit().finally(() => open.delete(request));
    open.add(request);
  }, everyMs);

  async function visit(): Promise<void> {
    const number = (stats.requests += 1);
    const candidates = Array.from({ length: CANDIDATES }, (_, index) => ({
      id: `item-${String(number)}-${String(index)}`,
      features: { topic: `topic-${String(Math.floor(random() * 20))}`, x: random() * 4 - 2 },
    }));
    try {
      const answer = await gateway.rank({
        line,
        requestId: `request-${String(number)}`,
        userId: `user-${String(Math.floor(random() * 500))}`,
        ...{ user: {}, context: {}, candidates },
      });
      stats.impressions += answer.items.length;
      stats.byArm[answer.arm] = (stats.byArm[answer.arm] ?? 0) + 1;
      const xOf = new Map(candidates.map(({ id, features }) => [id, features.x]));
      const events = answer.items
        .filter(({ id }) => random() < 1 / (1 + Math.exp(-clickSlope * (xOf.get(id) ?? 0))))
        .map(({ impressionId }) => ({ impressionId, event: 'click' as const }));
      if (events.length > 0) await gateway.sendFeedback(events);
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
      gateway.close();
    },
  };
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
