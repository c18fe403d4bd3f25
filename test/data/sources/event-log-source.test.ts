import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openDuckDb } from '../../../data/duckdb.ts';
import { openEventLogWriter } from '../../../data/event-log/writer.ts';
import { partitionOf } from '../../../data/event-log/layout.ts';
import { eventLogSource } from '../../../data/sources/event-log-source.ts';
import type { ImpressionRecord } from '../../../data/event-log/records.ts';
import { featuresOf, HOUR, loaded, START, temporaryFolder } from './loaded.ts';

const features = featuresOf([
  { kind: 'categorical', name: 'topic' },
  { kind: 'numeric', name: 'length' },
]);
const range = { line: 'feed', fromMs: START, toMs: START + 6 * HOUR };

function impression(n: number, overrides: Partial<ImpressionRecord> = {}): ImpressionRecord {
  const eventTimeMs = overrides.eventTimeMs ?? START + n * 60_000;
  return {
    impressionId: `token${String(n)}.0`,
    requestId: `request-${String(n)}`,
    line: 'feed',
    userId: `user-${String(n)}`,
    itemId: `item-${String(n)}`,
    eventTimeMs,
    arrivedAtMs: eventTimeMs,
    position: 0,
    version: 1,
    arm: 'stable',
    propensity: 1,
    score: 0.25,
    features: { topic: String(n + 1), length: n * 37 },
    ...overrides,
  };
}

async function writeLog(records: ImpressionRecord[]): Promise<string> {
  const root = await temporaryFolder();
  const writer = await openEventLogWriter({ root, processId: 'gateway-1' });
  writer.appendImpressions(records);
  writer.appendFeedback(records.map((shown) => ({ ...shown, event: 'click', value: null })));
  await writer.close();
  return root;
}

describe('the event log as a source', () => {
  test('gives each record once, and counts the lines of its files apart from reading them', async () => {
    const root = await writeLog([1, 2, 3].map((n) => impression(n)));

    const { reading, rows, feedback } = await loaded(eventLogSource({ root }), { range, features });

    expect(reading).toMatchObject({ kind: 'eventLog', location: root, rows: 3 });
    expect(rows.map(({ impression_id }) => impression_id)).toEqual(['token1.0', 'token2.0', 'token3.0']);
    expect(rows[0]).toMatchObject({ user_id: 'user-1', features: { topic: '2', length: '37' }, known_at_ms: null });
    expect(new Set(rows.map(({ row }) => row)).size).toBe(3);
    expect(feedback).toHaveLength(3);
  });

  test('counts a torn last line and a foreign one as rows that could not be read', async () => {
    const root = await writeLog([1, 2].map((n) => impression(n)));
    const torn = join(root, 'impressions', partitionOf(START), 'gateway-9-torn.ndjson');
    await writeFile(torn, `${JSON.stringify(impression(9))}\n\nnot json\n`);
    await appendFile(torn, JSON.stringify(impression(10)).slice(0, 60));

    const { reading, rows } = await loaded(eventLogSource({ root }), { range, features });

    expect(reading.rows).toBe(5);
    expect(rows).toHaveLength(5);
    expect(rows.filter(({ impression_id }) => impression_id === null)).toHaveLength(2);
  });

  test('reads what is dated up to a day ahead, so that a clock that is wrong can be seen', async () => {
    const root = await writeLog([impression(1), impression(2, { eventTimeMs: range.toMs + 8 * HOUR })]);
    const { rows } = await loaded(eventLogSource({ root }), { range, features });
    expect(rows).toHaveLength(2);
  });

  test("names as columns what the line's newest records carry, so that a feature that came or went shows", async () => {
    const root = await writeLog([
      impression(1),
      impression(2, { eventTimeMs: START + 3 * HOUR, features: { topic: '5', 'dwell "7d"': 0.5 } }),
      impression(3, { line: 'other', eventTimeMs: START + 4 * HOUR, features: { price: 3 } }),
    ]);

    const { reading } = await loaded(eventLogSource({ root }), { range, features });

    expect(reading.columns.filter(({ name }) => name.startsWith('features.'))).toEqual([
      { name: 'features.dwell "7d"', type: 'DOUBLE' },
      { name: 'features.topic', type: 'VARCHAR' },
    ]);
    expect(reading.columns).toContainEqual({ name: 'propensity', type: 'DOUBLE' });
  });

  test('is empty where nothing was ever written', async () => {
    const root = join(await temporaryFolder(), 'nowhere');
    const { reading, rows, feedback } = await loaded(eventLogSource({ root }), { range, features });
    expect([reading.rows, rows.length, feedback.length]).toEqual([0, 0, 0]);
  });

  test('has a field in known_at_ms for each feature that declares when it is known', async () => {
    const root = await writeLog([impression(1)]);
    const declared = featuresOf([{ kind: 'numeric', name: 'length', knownAt: 'length_at' }]);
    const db = await openDuckDb();
    onTestFinished(() => {
      db.close();
    });
    await eventLogSource({ root }).load(db, range, declared);
    const [type] = await db.describe('SELECT known_at_ms FROM source_rows');
    expect(type?.type).toBe('STRUCT(length BIGINT)');
  });
});
