import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImpressionRecord } from '../../../data/event-log/records.ts';
import { partitionOf } from '../../../data/event-log/layout.ts';
import { eventLogSource } from '../../../data/sources/event-log-source.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, MINUTE, START, type Cleanup } from '../feed.ts';
import { featuresOf, loaded } from '../sources/loaded.ts';

/** Rows of two lines whose features differ, from the third hour on also by the case of a letter only. */
export function ofLines(n: number): ImpressionRecord[] {
  const size = n < 120 ? { size: n / 8 } : { Length: n / 8 };
  const other = { topic: 'news', ...size, 'a "quoted" name': n % 3 === 0 ? null : 1e-7 * n };
  return [
    impression(n, { requestId: `request-${String(n >> 2)}` }),
    impression(n + 10_000, { line: 'other', eventTimeMs: START + n * MINUTE, features: other }),
  ];
}

/**
 * Six hours of two lines in segments of ten minutes, with repeated impressions and feedback, late ones, records that lack or
 * mistake their features, and segments that are torn in every way there is.
 */
export async function messyLog(cleanup: Cleanup): Promise<Feed> {
  const feed = await Feed.open(feedConfig(), cleanup);
  for (let first = 0; first < 360; first += 10) {
    const rows = Array.from({ length: 10 }, (_, i) => ofLines(first + i)).flat();
    const clicks = rows.filter((_, i) => i % 3 === 0).map((shown) => clickOn(shown));
    const late = first === 50 ? rows.slice(0, 6).map((row) => ({ ...row, arrivedAtMs: START + 5 * HOUR })) : rows;
    await feed.write(late, [...clicks, ...clicks.slice(0, 2)]);
  }
  const twin = impression(20, { score: 0.5 });
  const odd = [21, 201].flatMap((n) => [
    impression(n, { impressionId: `odd${String(n)}.0`, features: 5 } as unknown as Partial<ImpressionRecord>),
    impression(n, { impressionId: `bare${String(n)}.0`, features: undefined } as unknown as Partial<ImpressionRecord>),
    impression(n, { impressionId: `null${String(n)}.0`, features: null } as unknown as Partial<ImpressionRecord>),
    impression(n, { impressionId: `none${String(n)}.0`, features: {} }),
  ]);
  const late = clickOn(impression(3), { arrivedAtMs: START + 6 * HOUR });
  await feed.write([twin, ...odd], [late, late]);
  await tear(feed.root);
  return feed;
}

/** Segments that are cut, empty, blank, or have anything at all in the middle. */
export async function tear(root: string): Promise<void> {
  const hour = (kind: string, at: number): string => join(root, kind, partitionOf(START + at * HOUR));
  const whole = (n: number): string => `${JSON.stringify(impression(n, { impressionId: `torn${String(n)}.0` }))}\n`;
  await writeFile(join(hour('impressions', 1), 'gateway-9-x-00000001.ndjson'), whole(60) + whole(61).slice(0, 70));
  await writeFile(join(hour('impressions', 1), 'empty.ndjson'), '');
  await writeFile(join(hour('impressions', 2), 'blank.ndjson'), ` \r\n\n\t\n${whole(120)}   `);
  const middle = [whole(121), Buffer.alloc(4_096), '\n{"impressionId":"soon.0","eventTimeMs":"soon"}\n', whole(122)];
  const bytes = Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0xff, 0x0a]);
  await writeFile(
    join(hour('impressions', 2), 'middle.ndjson'),
    Buffer.concat([...middle, bytes, whole(123)].map((part) => Buffer.from(part))),
  );
  await appendFile(join(hour('feedback', 3), 'gateway-9-x-00000002.ndjson'), '{"impressionId":"token1.0","li');
  await mkdir(hour('impressions', 7), { recursive: true });
  await writeFile(join(hour('impressions', 7), 'only-torn.ndjson'), '\0\0\0');
}

/** All that a source says, the same for the same rows in whatever order. */
export async function stateOf(root: string): Promise<unknown> {
  const features = featuresOf([
    { kind: 'categorical', name: 'topic' },
    { kind: 'numeric', name: 'length' },
    { kind: 'numeric', name: 'never_logged' },
  ]);
  const range = { line: 'feed', fromMs: START, toMs: START + 8 * HOUR };
  const other = featuresOf([
    { kind: 'numeric', name: 'Length' },
    { kind: 'categorical', name: 'topic' },
  ]);
  return [
    await sorted(root, { range, features }),
    await sorted(root, { range: { ...range, line: 'other' }, features: other }),
  ];
}

async function sorted(root: string, input: Parameters<typeof loaded>[1]): Promise<unknown> {
  const { reading, rows, feedback } = await loaded(eventLogSource({ root }), input);
  const bySelf = (values: object[]): string[] => values.map((value) => JSON.stringify(value)).sort();
  return { reading, rows: bySelf(rows.map((row) => ({ ...row, row: null }))), feedback: bySelf(feedback) };
}
