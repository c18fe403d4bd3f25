import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { LineConfig } from '../../config/schema.ts';
import { DAY_MS, type EventTimeline } from '../../simulator/event-timeline.ts';
import { createReplayer, type Replayer, type ReplayerOptions } from '../../simulator/replayer.ts';
import { HOUR_MS, lineOver, NOON_MS, writeLog, type LogRow } from './log-files.ts';
import { startStandInGateway, type StandInGateway } from './stand-in-gateway.ts';

/** Operating time is set by the test: an hour of the log passes in a second of it. */
const DAY_LASTS_MS = 24_000;

let folder: string;
let gateway: StandInGateway;
let clock: { nowMs: number };
const started: Replayer[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-replay-'));
  gateway = await startStandInGateway();
  clock = { nowMs: 0 };
});
afterEach(async () => {
  await gateway.close();
  for (const replayer of started.splice(0)) await replayer.stop();
  await rm(folder, { recursive: true, force: true });
});

async function replay(
  rows: readonly LogRow[],
  { config = lineOver(), ...options }: Partial<ReplayerOptions> & { config?: LineConfig } = {},
): Promise<Replayer> {
  const replayer = await createReplayer({
    log: await writeLog(folder, rows),
    config,
    gatewayUrl: gateway.url,
    dayMs: DAY_LASTS_MS,
    seed: 1,
    now: () => clock.nowMs,
    ...options,
  });
  started.push(replayer);
  await replayer.start();
  return replayer;
}

const rankedUsers = (): string[] => gateway.ranked.map(({ userId }) => userId);
const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 10_000, interval: 5 });

describe('the replayer', () => {
  it('sends each request when its event time is due, in the order of the log', async () => {
    const rows = [
      { user: 'first', at: NOON_MS },
      { user: 'z', at: NOON_MS + HOUR_MS },
      { user: 'a', at: NOON_MS + HOUR_MS },
      { user: 'last', at: NOON_MS + 2 * HOUR_MS },
    ];
    const replayer = await replay(rows, { maxInFlight: 1 });
    await until(() => {
      expect(rankedUsers()).toEqual(['first']);
    });
    clock.nowMs = 1_000;
    await until(() => {
      expect(rankedUsers()).toEqual(['first', 'z', 'a']);
    });
    clock.nowMs = 1_999;
    expect(replayer.stats().lagMs).toBe(0);
    clock.nowMs = 2_000;
    await until(() => {
      expect(rankedUsers()).toEqual(['first', 'z', 'a', 'last']);
    });
    expect(gateway.ranked.map(({ eventTimeMs }) => eventTimeMs)).toEqual(rows.map(({ at }) => at));
    await until(() => {
      expect(replayer.stats()).toMatchObject({
        requests: 4,
        failed: 0,
        impressions: 4,
        answeredBy: { 'v1 stable': 4 },
      });
    });
  });

  it('sends the raw features of the line, and the candidates in the order of the log', async () => {
    await replay([
      { user: 'u', item: 'i2', topic: 'sport' },
      { user: 'u', item: 'i1', topic: null },
      { user: 'u', item: 'i2', topic: 'again' },
    ]);
    await until(() => {
      expect(started[0]?.stats().requests).toBe(1);
    });
    expect(gateway.ranked[0]).toMatchObject({
      line: 'replayed',
      userId: 'u',
      user: {},
      context: {},
      candidates: [
        { id: 'i2', features: { topic: 'sport' } },
        { id: 'i1', features: { topic: null } },
      ],
    });
    expect(started[0]?.stats().source).toEqual({ rows: 3, unusableRows: 0, repeatedItems: 1, wraps: 0 });
  });

  it('sends a click once the time watched has passed, and nothing for what was not clicked', async () => {
    const rows = [
      { user: 'u1', item: 'clicked', clicked: 1, watchedMs: 60_000 },
      { user: 'u1', item: 'passed', clicked: 0, watchedMs: 500 },
      { user: 'u2', item: 'fence', clicked: 1, watchedMs: 1_000, at: NOON_MS + 50_000 },
    ];
    const replayer = await replay(rows, { dayMs: DAY_MS });
    clock.nowMs = 59_999;
    await until(() => {
      expect(gateway.feedback.map(({ impressionId }) => impressionId.split('.')[1])).toEqual(['fence']);
    });
    expect(replayer.stats().feedbackPending).toBe(1);
    clock.nowMs = 62_000;
    await until(() => {
      expect(gateway.feedback.map(({ impressionId }) => impressionId.split('.')[1])).toEqual(['fence', 'clicked']);
    });
    const click = gateway.feedback[1];
    expect(click?.event).toBe('click');
    expect(click?.eventTimeMs).toBeGreaterThan(NOON_MS + 60_000);
    expect(click?.eventTimeMs).toBeLessThanOrEqual(NOON_MS + 62_000);
    await until(() => {
      expect(replayer.stats()).toMatchObject({ clicks: 2, feedbackAccepted: 2, feedbackPending: 0 });
    });
  });

  it('draws the delay where the log has none: the same for the same seed, about 20 s', async () => {
    const rows = Array.from({ length: 200 }, (_, index) => ({ user: `u${index}`, clicked: 1 }));
    const config = lineOver({ log: { user: 'user', item: 'item', timeMs: 'at', label: 'clicked' } });
    const delays: number[][] = [];
    for (const seed of [5, 5, 6]) {
      gateway.feedback.length = 0;
      clock.nowMs = 0;
      await replay(rows, { config, seed });
      await until(() => {
        expect(started.at(-1)?.stats().requests).toBe(200);
      });
      clock.nowMs = 1_000;
      await until(() => {
        expect(gateway.feedback).toHaveLength(200);
      });
      delays.push(gateway.feedback.map(({ eventTimeMs = 0 }) => eventTimeMs - NOON_MS).sort((a, b) => a - b));
    }
    expect(delays[1]).toEqual(delays[0]);
    expect(delays[2]).not.toEqual(delays[0]);
    expect(delays[0]?.[100]).toBeGreaterThan(15_000);
    expect(delays[0]?.[100]).toBeLessThan(30_000);
  });

  it('marks the request ids by the seed and changes nothing else of the log', async () => {
    const rows = ['c', 'a', 'b'].map((user) => ({ user }));
    await replay(rows, { seed: 1, maxInFlight: 1 });
    await replay(rows, { seed: 2, maxInFlight: 1 });
    await until(() => {
      expect(gateway.ranked).toHaveLength(6);
    });
    expect(new Set(gateway.ranked.map(({ requestId }) => requestId)).size).toBe(6);
    for (const seed of ['1-', '2-']) {
      const users = gateway.ranked.filter(({ requestId }) => requestId.startsWith(seed)).map(({ userId }) => userId);
      expect(users).toEqual(['c', 'a', 'b']);
    }
  });

  it('replays the last day again, a day later, where the log ends', async () => {
    const rows = [
      { user: 'before', at: NOON_MS - 2 * DAY_MS },
      { user: 'noon', at: NOON_MS },
      { user: 'evening', at: NOON_MS + 6 * HOUR_MS },
    ];
    const replayer = await replay(rows, { startAtMs: NOON_MS });
    clock.nowMs = 2 * DAY_LASTS_MS + 6_000;
    await until(() => {
      expect(gateway.ranked.map(({ userId, eventTimeMs }) => [userId, eventTimeMs])).toEqual([
        ['noon', NOON_MS],
        ['evening', NOON_MS + 6 * HOUR_MS],
        ['noon', NOON_MS + DAY_MS],
        ['evening', NOON_MS + DAY_MS + 6 * HOUR_MS],
        ['noon', NOON_MS + 2 * DAY_MS],
        ['evening', NOON_MS + 2 * DAY_MS + 6 * HOUR_MS],
      ]);
    });
    await until(() => {
      expect(replayer.stats().source['wraps']).toBe(2);
    });
    expect(new Set(gateway.ranked.map(({ requestId }) => requestId)).size).toBe(6);
  });

  it('holds event time and goes on from there, telling each mapping of the clocks', async () => {
    const timelines: EventTimeline[] = [];
    const replayer = await replay([{ user: 'a' }, { user: 'b', at: NOON_MS + HOUR_MS }], {
      onTimeline: (timeline) => timelines.push(timeline),
    });
    await until(() => {
      expect(rankedUsers()).toEqual(['a']);
    });
    clock.nowMs = 500;
    replayer.hold();
    clock.nowMs = 60_000;
    expect(replayer.stats()).toMatchObject({ eventNowMs: NOON_MS + HOUR_MS / 2, lagMs: 0 });
    replayer.resume();
    clock.nowMs = 60_499;
    expect(replayer.stats().eventNowMs).toBeLessThan(NOON_MS + HOUR_MS);
    expect(rankedUsers()).not.toContain('b');
    clock.nowMs = 60_500;
    await until(() => {
      expect(rankedUsers()).toEqual(['a', 'b']);
    });
    replayer.setDayMs(2 * DAY_LASTS_MS);
    expect(timelines.map(({ operatingMs, rate }) => [operatingMs, rate])).toEqual([
      [0, 3_600],
      [500, 0],
      [60_000, 3_600],
      [60_500, 1_800],
    ]);
    expect(replayer.timeline()).toEqual({ eventMs: NOON_MS + HOUR_MS, operatingMs: 60_500, rate: 1_800 });
  });

  it('starts where it is told to, and catches up with a start that lies in the past', async () => {
    const rows = ['a', 'b', 'c'].map((user, index) => ({ user, at: NOON_MS + index * HOUR_MS }));
    clock.nowMs = 50_000;
    await replay(rows, { startAtMs: NOON_MS + HOUR_MS, startOperatingMs: 49_000, maxInFlight: 1 });
    await until(() => {
      expect(rankedUsers()).toEqual(['b', 'c']);
    });
  });

  it('refuses to start after the end of the log', async () => {
    await expect(replay([{}], { startAtMs: NOON_MS + 1 })).rejects.toThrow(
      /can not start at 2025-03-01T12:00:00\.001Z: the log .* ends at 2025-03-01T12:00:00\.000Z/,
    );
  });

  it('is late, and says by how much, when the gateway does not keep up', async () => {
    const waiting: (() => void)[] = [];
    gateway.interfere = (_path, _request, response) => {
      waiting.push(() => {
        response.writeHead(503).end('busy');
      });
      return true;
    };
    const replayer = await replay([{ user: 'a' }, { user: 'b' }, { user: 'c' }], { maxInFlight: 2 });
    await until(() => {
      expect(waiting).toHaveLength(2);
    });
    clock.nowMs = 700;
    expect(replayer.stats()).toMatchObject({ lagMs: 700, inFlight: 2 });
    gateway.interfere = () => false;
    for (const release of waiting) release();
    await until(() => {
      expect(rankedUsers()).toEqual(['c']);
    });
    expect(replayer.stats()).toMatchObject({ lagMs: 0, failed: 2 });
  });

  it('counts failed requests with their message and does not repeat them', async () => {
    gateway.interfere = (path, _request, response) => {
      if (path !== '/v1/rank') return false;
      response.writeHead(500).end('{"error":"no route"}');
      return true;
    };
    const replayer = await replay([{ user: 'a' }, { user: 'b' }]);
    await until(() => {
      expect(replayer.stats()).toMatchObject({ requests: 2, failed: 2, impressions: 0, latencyMs: null });
    });
    expect(replayer.stats().problems).toEqual([`POST /v1/rank at ${gateway.url} answered 500: {"error":"no route"}`]);
  });

  it('counts answers in another format, and a gateway that is not there, as failed', async () => {
    gateway.interfere = (_path, _request, response) => {
      response.end('{"items":3}');
      return true;
    };
    const replayer = await replay([{ user: 'a' }, { user: 'b', at: NOON_MS + HOUR_MS }]);
    await until(() => {
      expect(replayer.stats().failed).toBe(1);
    });
    await gateway.close();
    clock.nowMs = 1_000;
    await until(() => {
      expect(replayer.stats().failed).toBe(2);
    });
    const [format, refused] = replayer.stats().problems;
    expect(format).toMatch(/answered something else than expected .*items/s);
    expect(refused).toMatch(/POST \/v1\/rank at http:\/\/127\.0\.0\.1:\d+ failed: .*ECONNREFUSED/);
    gateway = await startStandInGateway();
  });

  it('uses a new connection when the gateway closed an idle one', async () => {
    const replayer = await replay([{ user: 'a' }, { user: 'b', at: NOON_MS + HOUR_MS }], { maxInFlight: 1 });
    await until(() => {
      expect(replayer.stats().requests).toBe(1);
    });
    let closed = 0;
    gateway.interfere = (_path, request) => {
      if (closed > 0) return false;
      closed += 1;
      request.socket.resetAndDestroy();
      return true;
    };
    clock.nowMs = 1_000;
    await until(() => {
      expect(replayer.stats()).toMatchObject({ requests: 2, failed: 0 });
    });
    expect(closed).toBe(1);
  });

  it('counts refused and undelivered feedback apart from the requests', async () => {
    const rows = ['a', 'b'].map((user, index) => ({ user, clicked: 1, watchedMs: 1, at: NOON_MS + index * HOUR_MS }));
    gateway.interfere = (path, _request, response) => {
      if (path !== '/v1/feedback') return false;
      if (clock.nowMs < 1_000)
        response.end('{"accepted":0,"duplicates":0,"refused":[{"impressionId":"1-x.i1","reason":"expired"}]}');
      else response.writeHead(500).end('broken');
      return true;
    };
    const replayer = await replay(rows);
    clock.nowMs = 900;
    await until(() => {
      expect(replayer.stats().feedbackRefused).toBe(1);
    });
    clock.nowMs = 1_900;
    await until(() => {
      expect(replayer.stats()).toMatchObject({ requests: 2, failed: 0, feedbackFailed: 1, feedbackAccepted: 0 });
    });
    expect(replayer.stats().problems).toEqual([
      'feedback refused: expired',
      `POST /v1/feedback at ${gateway.url} answered 500: broken`,
    ]);
  });

  it('sends the dwell time on lines that are labelled by it, and no event times to lines on the wall clock', async () => {
    const config = lineOver({ clock: 'wall', label: { event: 'dwell' } });
    await replay([{ user: 'a', clicked: 0, watchedMs: 1_234 }], { config });
    await until(() => {
      expect(gateway.ranked).toHaveLength(1);
    });
    clock.nowMs = 1_000;
    await until(() => {
      expect(gateway.feedback).toEqual([{ impressionId: expect.any(String) as string, event: 'dwell', value: 1_234 }]);
    });
    expect(gateway.ranked[0]).not.toHaveProperty('eventTimeMs');
  });

  it('stops after the open requests and drops what is not due yet', async () => {
    const rows = [
      { user: 'a', item: 'soon', clicked: 1, watchedMs: 1 },
      { user: 'a', item: 'late', clicked: 1, watchedMs: 7_200_000 },
      { user: 'never', at: NOON_MS + HOUR_MS },
    ];
    const replayer = await replay(rows);
    await until(() => {
      expect(replayer.stats().requests).toBe(1);
    });
    clock.nowMs = 900;
    const stats = await replayer.stop();
    expect(stats).toMatchObject({ requests: 1, clicks: 1, feedbackPending: 1, inFlight: 0 });
    clock.nowMs = 5_000;
    expect(rankedUsers()).toEqual(['a']);
  });

  it('refuses an address that is none', async () => {
    await expect(replay([{}], { gatewayUrl: 'localhost:8080' })).rejects.toThrow(
      /must be an http or https URL such as http:\/\/localhost:8080, got "localhost:8080"/,
    );
    await expect(replay([{}], { dayMs: 0 })).rejects.toThrow(
      /a day must last a positive number of milliseconds, got 0/,
    );
  });
});
