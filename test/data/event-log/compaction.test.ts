import { appendFile, cp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, afterAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { openDuckDb, sqlText } from '../../../data/duckdb.ts';
import { compactHour, hoursToCompact, type CompactionStep } from '../../../data/event-log/compaction.ts';
import { readHour, readLog } from '../../../data/event-log/hour-state.ts';
import { isSegment, listHours, partitionOf } from '../../../data/event-log/layout.ts';
import { removeReplaced } from '../../../data/event-log/replaced-files.ts';
import { eventLogSource } from '../../../data/sources/event-log-source.ts';
import { clickOn, Feed, HOUR, impression, MINUTE, START, temporaryFolder } from '../feed.ts';
import { messyLog, ofLines, stateOf } from './messy-log.ts';

let log: Feed;
let before: unknown;
const cleaners: (() => Promise<void>)[] = [];
beforeAll(async () => {
  log = await messyLog((clean) => cleaners.push(clean));
  before = await stateOf(log.root);
}, 60_000);
afterAll(async () => {
  for (const clean of cleaners.reverse()) await clean();
});

/** A copy of the messy log. */
async function copy(): Promise<string> {
  const root = join(await temporaryFolder(), 'log');
  await cp(log.root, root, { recursive: true });
  return root;
}

async function compactAll(root: string): Promise<void> {
  for (const hour of await listHours(root)) await compactHour(hour);
}

async function hourAt(root: string, atMs: number, kind: 'impressions' | 'feedback' = 'impressions') {
  const hour = (await listHours(root)).find(({ startMs, kind: found }) => startMs === atMs && found === kind);
  if (hour === undefined) throw new Error('the log has no such hour');
  return hour;
}

const removeAll = (root: string): Promise<number> => removeReplaced({ root, nowMs: Date.now() + HOUR, graceMs: 0 });

describe('a compacted log', () => {
  test('gives the same snapshots, byte for byte, with torn, repeated and late rows of several lines', async () => {
    const root = await copy();
    const take = async (): Promise<string[]> => {
      const source = eventLogSource({ root });
      const first = await log.snapshot({ source, eventNowMs: START + 4 * HOUR });
      const next = await log.snapshot({ source, eventNowMs: START + 7 * HOUR, parent: first.manifest });
      expect(next.manifest.counts).toMatchObject({ malformed: 5, duplicates: expect.any(Number) as number });
      return [first.snapshotId, next.snapshotId];
    };
    const expected = await take();

    await compactAll(root);
    expect(await readLog({ root, kind: 'impressions', fromMs: START, toMs: START + 8 * HOUR })).toSatisfy(
      (hours: { segments: string[] }[]) => hours.every(({ segments }) => segments.length === 0),
    );
    expect(await take()).toEqual(expected);

    await removeAll(root);
    expect((await readdir(root, { recursive: true })).filter(isSegment)).toEqual([]);
    expect(await take()).toEqual(expected);
  }, 60_000);

  test('holds one Parquet file an hour, and a manifest that says what it stands for', async () => {
    const root = await copy();
    const hour = await hourAt(root, START + 2 * HOUR);
    const lines = (await readHour(hour)).segments.length;

    const result = await compactHour(hour);

    expect(result).toMatchObject({ kind: 'compacted', segments: lines });
    const { compacted } = await readHour(hour);
    expect(compacted).toMatchObject({ generation: 1, rows: 127, torn: 3 });
    expect(compacted?.lines).toEqual([
      { line: 'feed', rows: 64, features: { length: 'DOUBLE', topic: 'VARCHAR' } },
      { line: 'other', rows: 60, features: { Length: 'DOUBLE', 'a "quoted" name': 'DOUBLE', topic: 'VARCHAR' } },
    ]);
    expect(compacted?.replaces.others).toEqual(['blank.ndjson', 'middle.ndjson']);
    const db = await openDuckDb();
    const ids = await db.rows(
      `SELECT impression_id FROM ${sqlText(compacted?.path ?? '')} WHERE starts_with(impression_id, 'torn')`,
      z.object({ impression_id: z.string() }),
    );
    db.close();
    expect(ids).toHaveLength(4);
  });

  test('takes up late segments at the next compaction, and reads right in between', async () => {
    const root = await copy();
    await compactAll(root);
    await removeAll(root);
    const hour = await hourAt(root, START + HOUR);
    const late = ofLines(70).map((row) => ({
      ...row,
      impressionId: `${row.impressionId}late`,
      arrivedAtMs: START + 7 * HOUR,
    }));
    const features = { topic: '7', newcomer: 1.5, LENGTH: 2 };
    const records = [...late, impression(71, { impressionId: 'new.0', features })];
    const text = `${records.map((record) => JSON.stringify(record)).join('\n')}\nrubbish`;
    for (const folder of [hour.folder, join(log.root, 'impressions', partitionOf(hour.startMs))])
      await writeFile(join(folder, 'late.ndjson'), text);
    const expected = await stateOf(log.root);
    expect(expected).not.toEqual(before);
    await rm(join(log.root, 'impressions', partitionOf(hour.startMs), 'late.ndjson'));

    expect(named(await stateOf(root), log.root)).toEqual(expected);
    expect(await compactHour(hour)).toMatchObject({ kind: 'compacted', manifest: { generation: 2, torn: 2 } });
    expect(named(await stateOf(root), log.root)).toEqual(expected);
    await removeAll(root);
    expect(named(await stateOf(root), log.root)).toEqual(expected);
    expect(await compactHour(hour)).toEqual({ kind: 'unchanged' });
  }, 60_000);

  test.each<CompactionStep>(['parquetWritten', 'manifestWritten', 'switched'])(
    'reads the same when the process died after "%s", and the next compaction ends what it began',
    async (last) => {
      const root = await copy();
      const die = (step: CompactionStep): void => {
        if (step === last) throw new Error('killed');
      };
      for (const hour of await listHours(root)) await compactHour(hour, { afterStep: die }).catch(() => undefined);
      expect(named(await stateOf(root), log.root)).toEqual(before);
      await compactAll(root);
      await removeAll(root);
      expect(named(await stateOf(root), log.root)).toEqual(before);
      const left = (await readdir(root, { recursive: true })).filter((name) => /parquet$|tmp$/.test(name));
      expect(left).toHaveLength((await listHours(root)).length);
    },
    60_000,
  );

  test('reads the same while only some of what it replaced is deleted', async () => {
    const root = await copy();
    await compactAll(root);
    const [some, more] = (await readdir(root, { recursive: true })).filter(isSegment);
    for (const name of [some, more]) await rm(join(root, name ?? ''));
    expect(named(await stateOf(root), log.root)).toEqual(before);
  });
});

describe('compactions of one hour at once', () => {
  test('do no harm: one wins, what the other made goes', async () => {
    const root = await copy();
    const hour = await hourAt(root, START);
    const results = await Promise.all([compactHour(hour), compactHour(hour), compactHour(hour)]);
    expect(results.map(({ kind }) => kind).sort()).toEqual(['compacted', 'overtaken', 'overtaken']);
    expect(named(await stateOf(root), log.root)).toEqual(before);
    expect((await readdir(hour.folder)).filter((name) => !isSegment(name))).toHaveLength(2);
  });

  test('one that was stopped for so long that its segments are gone can not bring its state back', async () => {
    const root = await copy();
    const hour = await hourAt(root, START);
    const overtake = compactHour(hour, {
      afterStep: (step) => {
        if (step === 'manifestWritten') throw new Error('stopped');
      },
    });
    await expect(overtake).rejects.toThrow('stopped');
    const written = (await readdir(hour.folder)).find((name) => name.endsWith('.tmp')) ?? '';
    const stopped = await readFile(join(hour.folder, written));
    await compactHour(hour);
    await writeFile(join(hour.folder, 'late.ndjson'), `${JSON.stringify(impression(7, { impressionId: 'late.0' }))}\n`);
    await compactHour(hour);
    await removeAll(root);
    const newest = await readHour(hour);
    // It goes on where it was stopped: its generation is free again, and older than what readers look at.
    await writeFile(join(hour.folder, 'compacted-00000001.json'), stopped, { flag: 'wx' });
    expect(await readHour(hour)).toEqual(newest);
  });
});

describe('an hour is compacted', () => {
  const root = async (): Promise<string> => {
    const feed = await Feed.open();
    await feed.write([impression(1), impression(1, { eventTimeMs: START + HOUR })], [clickOn(impression(1))]);
    return feed.root;
  };
  const due = async (folder: string, nowMs: number, quietForMs: number): Promise<string[]> => {
    for (const { folder: path } of await listHours(folder)) {
      const at = new Date(nowMs - quietForMs);
      await utimes(path, at, at);
    }
    const hours = await hoursToCompact({ root: folder, nowMs, quietMs: 10 * MINUTE });
    return hours.map(({ kind, startMs }) => `${kind} ${String((startMs - START) / HOUR)}`);
  };

  test.each([
    {
      what: 'over and quiet',
      nowMs: START + 5 * HOUR,
      quiet: 10,
      hours: ['impressions 0', 'feedback 0', 'impressions 1'],
    },
    { what: 'over and busy', nowMs: START + 5 * HOUR, quiet: 9, hours: [] },
    {
      what: 'quiet, and one is not over',
      nowMs: START + HOUR + 59 * MINUTE,
      quiet: 10,
      hours: ['impressions 0', 'feedback 0'],
    },
    { what: 'ahead of the clock', nowMs: START - 9 * HOUR, quiet: 59, hours: [] },
    {
      what: 'ahead, and nothing came for an hour',
      nowMs: START - 9 * HOUR,
      quiet: 60,
      hours: ['impressions 0', 'feedback 0', 'impressions 1'],
    },
    { what: 'years ago, by the event clock of a replay', nowMs: START + 50_000 * HOUR, quiet: 1, hours: [] },
  ])('when it is $what: $hours', async ({ nowMs, quiet, hours }) => {
    expect(await due(await root(), nowMs, quiet * MINUTE)).toEqual(hours);
  });

  test('not again while nothing came', async () => {
    const folder = await root();
    await compactAll(folder);
    expect(await due(folder, START + 5 * HOUR, 10 * MINUTE)).toEqual([]);
  });
});

describe('what was replaced', () => {
  test('stays for the grace time, and what a compaction left that died', async () => {
    const root = await copy();
    const hour = await hourAt(root, START);
    await writeFile(join(hour.folder, 'compacted-00000001-dead.parquet'), 'half');
    const all = await readdir(hour.folder);
    await compactHour(hour);
    const nowMs = Date.now();
    expect(await removeReplaced({ root, nowMs, graceMs: HOUR })).toBe(0);
    expect(await removeReplaced({ root, nowMs: nowMs + 59 * MINUTE, graceMs: HOUR })).toBe(0);
    expect(await removeReplaced({ root, nowMs: nowMs + 61 * MINUTE, graceMs: HOUR })).toBe(all.length);
    expect(await readdir(hour.folder)).toHaveLength(2);
  });
});

describe('damage is told, never read around', () => {
  test('a compacted file that changed is not compacted on', async () => {
    const root = await copy();
    const hour = await hourAt(root, START);
    await compactHour(hour);
    const { compacted } = await readHour(hour);
    await appendFile(compacted?.path ?? '', 'x');
    await writeFile(join(hour.folder, 'late.ndjson'), `${JSON.stringify(impression(1))}\n`);
    await expect(compactHour(hour)).rejects.toThrow(/is not the file that its manifest names/);
  });

  test.each([
    ['is cut', (text: string) => text.slice(0, 80)],
    ['is of another hour', (text: string) => text.replace(String(START), String(START + HOUR))],
    ['is of a newer build', (text: string) => text.replace('"contractVersion":1', '"contractVersion":2')],
  ])('a manifest that %s stops whoever reads its hour', async (_, change) => {
    const root = await copy();
    const hour = await hourAt(root, START);
    await compactHour(hour);
    const manifest = join(hour.folder, 'compacted-00000001.json');
    await writeFile(manifest, change(await readFile(manifest, 'utf8')));
    await expect(stateOf(root)).rejects.toThrow(/compacted-00000001\.json can not be read/);
  });
});

/** As if it lay there. */
function named(state: unknown, root: string): unknown {
  return (state as { reading: { location: string } }[]).map((one) => ({
    ...one,
    reading: { ...one.reading, location: root },
  }));
}
