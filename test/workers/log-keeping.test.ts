import { appendFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { isSegment, listHours } from '../../data/event-log/layout.ts';
import { applyLine } from '../../store/lines.ts';
import { setEventClock } from '../../store/event-clock.ts';
import { startLogKeeping } from '../../workers/log-keeping.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, START } from '../data/feed.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { runFreshet } from '../rig/freshet.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  vi.stubEnv('DATABASE_URL', database.url);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await database.drop();
});

const PATIENT = { timeout: 45_000 };
const DAY = 24 * HOUR;

test('workers compact what is quiet, delete what it replaced, tell what is torn, and remove what nobody reads', async () => {
  const feed = await Feed.open();
  const { root } = feed;
  vi.stubEnv('FRESHET_LOG_ROOT', root);
  const config = feedConfig();
  await applyLine(database.db, { config, who: 'test' });
  await setEventClock(database.db, { line: config.line, eventMs: START + 3 * HOUR, rate: 0 });
  const shown = [1, 2, 70].map((n) => impression(n));
  await feed.write(shown, [clickOn(shown[0] ?? impression(1))]);
  const torn = (await readdir(root, { recursive: true })).find((name) => name.includes('hour=00') && isSegment(name));
  await appendFile(join(root, torn ?? ''), '{"impressionId":"cut');

  const check = await runFreshet('data', 'log', '--check');
  expect(check.code).toBe(1);
  expect(check.out).toMatch(/hour=00\/\S+\.ndjson: 1 of \d+ lines torn/);

  const lines: Record<string, unknown>[] = [];
  const logger = pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line) as never) });
  const settings = { quietMs: 0, graceMs: 0, keepMs: 30 * DAY };
  const start = () => startLogKeeping({ db: database.db, root, settings, logger, firstAfterMs: 0, everyMs: 20 });
  const workers = [start(), start()];
  await expect.poll(async () => (await readdir(root, { recursive: true })).filter(isSegment), PATIENT).toEqual([]);
  const told = (message: string) => lines.filter(({ msg }) => String(msg).includes(message));
  // Two hours of impressions and one of feedback, each once, although two workers look.
  expect(told('compacted an hour')).toHaveLength(3);
  expect(told('has torn records')).toEqual([expect.objectContaining({ level: 40, torn: 1 })]);
  const report = await runFreshet('data', 'log');
  expect(report.out).toMatch(/impressions +2026-01-05 00:00:00 UTC +2 +2 +4 +1 /);
  expect(report.out).toMatch(/retention \(FRESHET_LOG_KEEP 30d\) would remove 0 hours/);

  await setEventClock(database.db, { line: config.line, eventMs: START + 30 * DAY + 1.5 * HOUR, rate: 0 });
  await expect.poll(() => listHours(root), PATIENT).toMatchObject([{ startMs: START + HOUR }]);
  await Promise.all(workers.map((worker) => worker.stop()));
  expect(lines.filter(({ level }) => Number(level) > 40)).toEqual([]);
});

test('what fails is logged and tried again', async () => {
  const lines: string[] = [];
  const logger = pino({ base: null }, { write: (line: string) => lines.push(line) });
  const settings = { quietMs: 0, graceMs: 0, keepMs: DAY };
  const failing = Object.create(database.db) as typeof database.db;
  failing.connect = () => Promise.reject(new Error('Postgres is away'));
  const loop = startLogKeeping({ db: failing, root: '/nowhere', settings, logger, firstAfterMs: 0, everyMs: 1 });
  await expect.poll(() => lines.length, PATIENT).toBeGreaterThan(1);
  await loop.stop();
  expect(lines[0]).toContain('Postgres is away');
});
