import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { LineConfig, LineConfigInput } from '../../../config/schema.ts';
import { compactHour } from '../../../data/event-log/compaction.ts';
import { listHours } from '../../../data/event-log/layout.ts';
import { applyLogRetention, planLogRetention, type LineOfLog } from '../../../data/event-log/retention.ts';
import { snapshotReach } from '../../../data/snapshot-times.ts';
import { eventLogSource } from '../../../data/sources/event-log-source.ts';
import { openDuckDb } from '../../../data/duckdb.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, START, temporaryFolder } from '../feed.ts';

const DAY = 24 * HOUR;

/** A compacted log of single impressions of lines at hours. */
async function logOf(rows: { line: string; hour: number }[]): Promise<string> {
  const feed = await Feed.open();
  const shown = rows.map(({ line, hour }, n) => impression(n, { line, eventTimeMs: START + hour * HOUR }));
  await feed.write(shown, shown.map((row) => clickOn(row, { eventTimeMs: row.eventTimeMs + 1 }))); // prettier-ignore
  for (const hour of await listHours(feed.root)) await compactHour(hour);
  return feed.root;
}

const line = (eventNowMs: number, overrides: Partial<LineConfigInput> = {}): LineOfLog => ({
  config: feedConfig(overrides),
  eventNowMs,
});

/** How long before its event time a line reads. */
function reachOf(config: LineConfig): number {
  return -snapshotReach(config, 0).reachMs;
}

async function going(
  root: string,
  input: { lines: LineOfLog[]; keepMs: number; nowMs?: number },
): Promise<(string | null)[]> {
  const plan = await planLogRetention({ root, nowMs: START, ...input });
  return plan.filter(({ state }) => state.hour.kind === 'impressions').map(({ keep }) => keep);
}

describe('an hour of the log goes', () => {
  test('when it is older than the keep time, by the event time of its line', async () => {
    const root = await logOf([0, 1, 2].map((hour) => ({ line: 'feed', hour })));
    const keepMs = 40 * DAY;
    const lines = [line(START + 2 * HOUR + keepMs)];
    // Whatever the clock of the machine says.
    for (const nowMs of [START - 900 * DAY, START + 900 * DAY])
      expect(await going(root, { lines, keepMs, nowMs })).toEqual([null, null, 'feed may read it']);
  });

  test.each([
    { what: 'windows', overrides: { snapshot: { maxWindow: '20d' } } },
    { what: 'slow labels', overrides: { label: { maturity: '12d' } } },
    { what: 'the week that is compared with', overrides: {} },
  ] satisfies { what: string; overrides: Partial<LineConfigInput> }[])(
    'never while a snapshot can read it, or one that is tried again for a day: $what',
    async ({ overrides }) => {
      const config = feedConfig(overrides);
      const neededMs = reachOf(config) + DAY;
      const root = await logOf([0, 1, 2].map((hour) => ({ line: 'feed', hour })));
      const lines = [{ config, eventNowMs: START + HOUR + neededMs }];
      expect(await going(root, { lines, keepMs: HOUR })).toEqual([null, 'feed may read it', 'feed may read it']);
      await applyLogRetention(root, await planLogRetention({ root, lines, nowMs: START, keepMs: HOUR }));
      const db = await openDuckDb();
      const range = { line: 'feed', fromMs: START + HOUR, toMs: START + DAY };
      const reading = await eventLogSource({ root }).load(db, range, config.features);
      db.close();
      expect(reading.rows).toBe(2);
    },
  );

  test('only when every line that has rows in it lets it go', async () => {
    const root = await logOf([
      { line: 'feed', hour: 0 },
      { line: 'feed', hour: 1 },
      { line: 'replayed', hour: 1 },
      { line: 'forgotten', hour: 2 },
    ]);
    const ahead = START + 900 * DAY;
    const lines = [line(ahead), line(START + 5 * HOUR, { line: 'replayed' })];
    const input = { lines, keepMs: 30 * DAY };
    expect(await going(root, { ...input, nowMs: START + 30 * DAY + 2 * HOUR })).toEqual([
      null,
      'replayed may read it',
      'forgotten is not applied any more, and it is young',
    ]);
    expect((await going(root, { ...input, nowMs: START + 30 * DAY + 3 * HOUR }))[2]).toBe(null);
    const lake = {
      source: { kind: 'lake', path: 'x', columns: { user: 'u', item: 'i', time: 't', label: 'l' } },
    } as const;
    const apart = [line(ahead), line(START + 30 * DAY + 2 * HOUR, { line: 'replayed', ...lake })];
    expect((await going(root, { lines: apart, keepMs: 30 * DAY, nowMs: ahead }))[1]).toBe(null);
  });

  test('not before it is compacted, late segments included', async () => {
    const root = await logOf([{ line: 'feed', hour: 0 }]);
    const [hour] = await listHours(root);
    await writeFile(join(hour?.folder ?? '', 'late.ndjson'), '\0');
    const plan = await planLogRetention({ root, lines: [line(START + 900 * DAY)], nowMs: START, keepMs: HOUR });
    expect(plan.map(({ keep }) => keep)).toEqual(['is not compacted yet', null]);
  });
});

test('what goes disappears whole, with what a run that died had moved aside', async () => {
  const root = await logOf([0, 1].map((hour) => ({ line: 'feed', hour })));
  const lines = [line(START + HOUR + 40 * DAY)];
  const plan = await planLogRetention({ root, lines, nowMs: START, keepMs: 40 * DAY });
  expect(await applyLogRetention(root, plan)).toMatchObject({ hours: 2 });
  expect((await listHours(root)).map(({ startMs }) => startMs)).toEqual([START + HOUR, START + HOUR]);
  expect(await readdir(join(root, 'removed'))).toEqual([]);
  expect(await applyLogRetention(root, plan)).toMatchObject({ hours: 0 });
  expect(await planLogRetention({ root: await temporaryFolder(), lines, nowMs: 0, keepMs: 0 })).toEqual([]);
});
