import { beforeAll, describe, expect, test } from 'vitest';
import { parseHTML } from 'linkedom';
import { html } from '../../../data/report/html.ts';
import { histogram } from '../../../data/report/column-charts.ts';
import { renderDataReport, type DataReportInput } from '../../../data/report/render.ts';
import { Feed, feedConfig, HOUR, START } from '../feed.ts';

/** What the tests read of a page; the compiler knows no DOM here. */
interface Page {
  body: { textContent: string };
  querySelector(selector: string): { textContent: string } | null;
  querySelectorAll(selector: string): Iterable<{ textContent: string }> & { length: number };
}

let input: DataReportInput;
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const feed = await Feed.open(feedConfig(), (cleanup) => cleanups.push(cleanup));
  await feed.playTo(START + 28 * HOUR);
  const before = await feed.snapshot();
  await feed.playTo(START + 32 * HOUR);
  const { snapshotId, manifest } = await feed.snapshot({ parent: before.manifest });
  const reference = await feed.profile(before.manifest, 'fresh');
  if (reference === null) throw new Error('the feed has rows');
  input = {
    snapshotId,
    manifest,
    report: await feed.check(manifest, { config: feedConfig({ snapshot: { minRows: 5_000 } }) }),
    profile: await feed.profile(manifest, 'fresh'),
    reference: { name: 'the day before', fromMs: START, toMs: START + HOUR, profile: reference },
    season: feed.config.snapshot.season,
    taint: null,
  };
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const draw = (change: Partial<DataReportInput> = {}): { page: string; text: string; document: Page } => {
  const page = renderDataReport({ ...input, ...change });
  const { document } = parseHTML(page) as unknown as { document: Page };
  return { page, text: document.body.textContent.replace(/\s+/g, ' '), document };
};

describe('a data report', () => {
  test('says the verdict first, then why, then every check with the blocking ones first', () => {
    const { document, text } = draw();
    expect(document.querySelector('h1')?.textContent).toContain('BLOCKED');
    expect(document.querySelector('.why')?.textContent).toContain('volume.min-rows');
    const rows = [...document.querySelectorAll('.checks tbody > tr')];
    expect(rows.length).toBe(input.report?.results.length);
    expect(rows[0]?.textContent).toContain('blocks');
    expect(text.indexOf('BLOCKED')).toBeLessThan(text.indexOf('Volume by hour'));
  });

  test('draws volume, label delay and every column, and needs nothing from elsewhere', () => {
    const { document, page } = draw();
    expect(document.querySelectorAll('svg').length).toBeGreaterThan(8);
    expect([...document.querySelectorAll('h3')].map(({ textContent }) => textContent).slice(0, 2)).toEqual([
      'topic',
      'length',
    ]);
    expect(page).not.toMatch(/<script|<link|https?:\/\/(?!www\.w3\.org)/);
  });

  test('accounts for the rows with the numbers of the manifest', () => {
    const { text } = draw();
    expect(text).toContain(`read ${input.manifest.counts.read.toLocaleString('en-US')}`);
    expect(text).toContain(`the source itself says ${input.manifest.source.rows.toLocaleString('en-US')}`);
  });

  test.each([
    ['before the checks ran', { report: null }, 'NOT CHECKED'],
    ['with nothing to compare with', { reference: null }, 'no earlier snapshot passed'],
    ['without fresh rows', { profile: null }, 'no fresh rows'],
    ['of a tainted snapshot', { taint: { who: 'ann', reason: 'half loaded' } }, 'Tainted by ann: half loaded'],
  ])('is drawn %s', (_what, change, says) => {
    expect(draw(change).text).toContain(says);
  });

  test('says so where the sampled rows lack the few values of a column', () => {
    const profile = structuredClone(input.profile as NonNullable<typeof input.profile>);
    profile.sample.numeric['length']?.fill(NaN);
    expect(draw({ profile }).text).toContain('too few rows have a value');
  });

  test('shows what others wrote as text, never as markup', () => {
    const { page } = draw({ taint: { who: '<img src=x>', reason: '"&' } });
    expect(page).not.toContain('<img');
    expect(page).toContain('&lt;img src=x&gt;: &quot;&amp;');
    expect(html`<b>${'<i>'}${['&', html`<u></u>`]}${null}</b>`.markup).toBe('<b>&lt;i&gt;&amp;<u></u></b>');
  });
});

describe('a histogram', () => {
  const total = (bins: ReturnType<typeof histogram>, side: 'current' | 'reference'): number =>
    bins.reduce((sum, bin) => sum + (bin[side] ?? 0), 0);

  test('puts both samples into the same bins and loses no row to an outlier', () => {
    const bins = histogram(Float64Array.from([1, 2, 3, 1e9]), Float64Array.from([2, 4]));
    expect(total(bins, 'current')).toBeCloseTo(1);
    expect(total(bins, 'reference')).toBeCloseTo(1);
  });

  test.each([
    ['a constant', [5, 5], [5], 1],
    ['nothing before', [1, 2], [], 40],
  ])('of %s', (_what, current, reference, count) => {
    const bins = histogram(Float64Array.from(current), Float64Array.from(reference));
    expect(bins.length).toBe(count);
    expect(total(bins, 'current')).toBeCloseTo(1);
  });
});
