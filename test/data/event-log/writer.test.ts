import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { holdSegments, releaseSegments } from '../../../data/event-log/hold.ts';
import { readLog } from '../../../data/event-log/hour-state.ts';
import { segmentsBelow } from '../../../data/event-log/layout.ts';
import type { ImpressionRecord } from '../../../data/event-log/records.ts';
import { openEventLogWriter, type EventLogWriter, type EventLogWriterOptions } from '../../../data/event-log/writer.ts';
import { clickOn, HOUR, impression, MINUTE, START, temporaryFolder } from '../feed.ts';

async function openWriter(options: Partial<EventLogWriterOptions> & { root: string }): Promise<EventLogWriter> {
  const writer = await openEventLogWriter({ processId: 'gateway-1', sealEveryMs: HOUR, ...options });
  onTestFinished(() => writer.close());
  return writer;
}

async function published(root: string, kind: 'impressions' | 'feedback' = 'impressions'): Promise<ImpressionRecord[]> {
  const hours = await readLog({ root, kind, fromMs: START, toMs: START + 48 * HOUR });
  const segments = hours.flatMap((hour) => hour.segments);
  const texts = await Promise.all(segments.map((path) => readFile(path, 'utf8')));
  return texts.flatMap((text) => text.trim().split('\n')).map((line) => JSON.parse(line) as ImpressionRecord);
}

describe('a sealed segment', () => {
  test('lies in the partition of its event time and reads back as it was written', async () => {
    const root = await temporaryFolder();
    const writer = await openWriter({ root });
    const shown = [impression(1), impression(2, { eventTimeMs: START + 25 * HOUR + 59 * MINUTE })] as const;
    writer.appendImpressions(shown);
    writer.appendFeedback([clickOn(shown[0])]);
    await writer.flush();

    const folders = (await segmentsBelow(root)).map((path) => path.slice(0, path.lastIndexOf('/')));
    expect(folders).toEqual([
      'feedback/dt=2026-01-05/hour=00',
      'impressions/dt=2026-01-05/hour=00',
      'impressions/dt=2026-01-06/hour=01',
    ]);
    const newest = shown[1].arrivedAtMs;
    expect(await published(root)).toEqual(shown.map((record) => ({ ...record, arrivedAtMs: newest })));
    expect(writer.stats()).toMatchObject({ buffered: 0, publishedSegments: 3, publishedRecords: 3, dropped: 0 });
  });

  test('appears by itself after a while', async () => {
    const root = await temporaryFolder();
    const writer = await openWriter({ root, sealEveryMs: 5 });
    writer.appendImpressions([impression(1)]);
    await expect.poll(() => published(root)).toHaveLength(1);
  });

  test('appears at the latest when the writer closes; what comes after is dropped and counted', async () => {
    const root = await temporaryFolder();
    const writer = await openWriter({ root });
    writer.appendImpressions([impression(1)]);
    await writer.close();
    writer.appendImpressions([impression(2)]);
    expect(await published(root)).toHaveLength(1);
    expect(writer.stats()).toMatchObject({ dropped: 1, buffered: 0 });
  });

  test('says when readers could first see it, not when the record was taken', async () => {
    const root = await temporaryFolder();
    const writer = await openWriter({ root, eventNow: () => Promise.resolve(START + HOUR + 0.25) });
    writer.appendImpressions([impression(1), impression(2, { arrivedAtMs: START + 2 * HOUR })]);
    await writer.flush();
    expect((await published(root)).map(({ arrivedAtMs }) => arrivedAtMs)).toEqual([START + HOUR, START + 2 * HOUR]);
  });

  test.each([
    { clock: 'fails', eventNow: () => Promise.reject(new Error('no database')) },
    { clock: 'is not known yet', eventNow: () => 0 },
  ])('takes the newest arrival of its line while the event clock $clock', async ({ eventNow }) => {
    const root = await temporaryFolder();
    const writer = await openWriter({ root, eventNow });
    writer.appendImpressions([impression(1), impression(5), impression(9, { line: 'other' })]);
    await writer.flush();
    expect((await published(root)).map(({ arrivedAtMs }) => arrivedAtMs)).toEqual(
      [5, 5, 9].map((n) => START + n * MINUTE),
    );
  });
});

describe('a hold', () => {
  test('keeps its share of the seals from readers until it is released, then they arrive late', async () => {
    const root = await temporaryFolder();
    const clock = { now: START };
    const writer = await openWriter({ root, eventNow: () => clock.now });
    await holdSegments({ root, share: 0.7 });
    for (let n = 0; n < 10; n += 1) {
      clock.now = START + n * MINUTE;
      writer.appendImpressions([impression(n)]);
      await writer.flush();
    }
    const early = await published(root);
    expect(early).toHaveLength(3);
    expect(writer.stats()).toMatchObject({ heldSegments: 7, publishedSegments: 3 });

    await releaseSegments({ root });
    clock.now = START + 5 * HOUR;
    await writer.flush();

    const all = await published(root);
    expect(all).toHaveLength(10);
    expect(all.filter(({ arrivedAtMs }) => arrivedAtMs === START + 5 * HOUR)).toHaveLength(7);
    expect(await segmentsBelow(join(root, 'held', 'gateway-1'))).toEqual([]);
    expect(writer.stats().heldSegments).toBe(0);
  });

  test('whose file says no share holds everything, and outlives the writer', async () => {
    const root = await temporaryFolder();
    const first = await openWriter({ root });
    await writeFile(join(root, 'HOLD'), '');
    first.appendImpressions([impression(1)]);
    await first.close();
    expect(await published(root)).toEqual([]);

    await releaseSegments({ root });
    const second = await openWriter({ root });
    await second.flush();
    expect(await published(root)).toHaveLength(1);
  });

  test.each([-0.1, 1.5, Number.NaN])('of a share of %s is refused', async (share) => {
    await expect(holdSegments({ root: await temporaryFolder(), share })).rejects.toThrow(/must be from 0 to 1/);
  });
});

describe('a writer', () => {
  test('publishes what a killed predecessor left in the spool, up to its last whole line', async () => {
    const root = await temporaryFolder();
    const folder = join(root, 'spool', 'gateway-1', 'impressions', 'dt=2026-01-05', 'hour=00');
    await mkdir(folder, { recursive: true });
    const segment = join(folder, 'gateway-1-dead-00000001.ndjson');
    await writeFile(segment, `${JSON.stringify(impression(1))}\n${JSON.stringify(impression(2))}\n`);
    await appendFile(segment, JSON.stringify(impression(3)).slice(0, 40));

    const writer = await openWriter({ root });

    expect((await published(root)).map(({ impressionId }) => impressionId)).toEqual(['token1.0', 'token2.0']);
    expect(writer.stats().dropped).toBe(1);
    expect(await readdir(folder)).toEqual([]);
  });

  test('publishes of what was held or left behind the whole records only, whatever stands between them', async () => {
    const root = await temporaryFolder();
    const whole = (n: number): string => `${JSON.stringify(impression(n))}\n`;
    const notText = Buffer.from(whole(5).replace('user-5', 'user-#')).map((byte) => (byte === 35 ? 0xff : byte));
    const garbage = [Buffer.alloc(64), '\nnull\n', '7\n', '{}\n', '[1, 2]\n', notText, whole(6).slice(40)];
    const bytes = Buffer.concat(
      [whole(1), ...garbage, whole(2), whole(3).slice(0, 80)].map((part) => Buffer.from(part)),
    );
    for (const [where, seq] of [
      ['spool', 1],
      ['held', 2],
    ] as const) {
      const folder = join(root, where, 'gateway-1', 'impressions', 'dt=2026-01-05', 'hour=00');
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, `gateway-1-dead-0000000${String(seq)}.ndjson`), bytes);
      await writeFile(join(folder, `gateway-1-dead-0000001${String(seq)}.ndjson`), '');
    }

    const writer = await openWriter({ root });
    await writer.flush();

    const ids = (await published(root)).map(({ impressionId }) => impressionId);
    expect(ids).toEqual(['token1.0', 'token2.0', 'token1.0', 'token2.0']);
    expect(writer.stats()).toMatchObject({ dropped: 16, droppedBy: { torn: 16 } });
    for (const where of ['spool', 'held']) expect(await segmentsBelow(join(root, where, 'gateway-1'))).toEqual([]);
  });

  test('does not publish again what a predecessor published and died before it removed', async () => {
    const root = await temporaryFolder();
    const segment = join('impressions', 'dt=2026-01-05', 'hour=00', 'gateway-1-dead-00000001.ndjson');
    for (const folder of [root, join(root, 'spool', 'gateway-1')]) {
      await mkdir(dirname(join(folder, segment)), { recursive: true });
      await writeFile(join(folder, segment), `${JSON.stringify(impression(1))}\n`);
    }
    await openWriter({ root, eventNow: () => START + 9 * HOUR });
    expect(await published(root)).toEqual([impression(1)]);
    expect(await segmentsBelow(join(root, 'spool', 'gateway-1'))).toEqual([]);
  });

  test('keeps records while they can not be written, drops what has no room, and loses nothing else', async () => {
    const root = await temporaryFolder();
    const writer = await openWriter({ root, maxBufferedRecords: 3 });
    await writeFile(join(root, 'impressions'), 'a file where the folder should be');
    writer.appendImpressions([1, 2, 3, 4, 5].map((n) => impression(n)));
    await writer.flush();
    expect(writer.stats()).toMatchObject({ buffered: 3, dropped: 2, droppedBy: { bufferFull: 2 }, failedSeals: 1 });
    expect(writer.stats().lastError).toContain('impressions');

    await rm(join(root, 'impressions'));
    await writer.flush();
    expect(await published(root)).toHaveLength(3);
    expect(writer.stats()).toMatchObject({ buffered: 0, publishedRecords: 3 });
  });

  test('drops and counts a record that has no time, without throwing', async () => {
    const root = await temporaryFolder();
    const writer = await openWriter({ root });
    writer.appendImpressions([impression(1, { eventTimeMs: Number.NaN }), impression(2)]);
    await writer.flush();
    expect(await published(root)).toHaveLength(1);
    expect(writer.stats().dropped).toBe(1);
  });

  test.each(['', '..', 'a/b'])('whose process id is "%s" is refused', async (processId) => {
    await expect(openEventLogWriter({ root: await temporaryFolder(), processId })).rejects.toThrow(
      /names segment files/,
    );
  });

  test('that can not make its folders says so at once', async () => {
    const root = join(await temporaryFolder(), 'file');
    await writeFile(root, '');
    await expect(openEventLogWriter({ root, processId: 'gateway-1' })).rejects.toThrow(/ENOTDIR|EEXIST/);
  });
});
