import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHECK_CODES, CHECK_SETTINGS, type CheckCode, type LineConfigInput } from '../../../config/schema.ts';
import type { CheckReport, CheckResult } from '../../../data/checks/run-checks.ts';
import { holdSegments, releaseSegments } from '../../../data/event-log/hold.ts';
import type { SnapshotManifest } from '../../../data/snapshot.ts';
import { Feed, feedConfig, HOUR, localFiles, MINUTE, resultOf, START } from '../feed.ts';

const blocked = (report: CheckReport): CheckCode[] =>
  report.results.filter(({ status }) => status === 'block').map(({ check }) => check);

describe('a clean feed', () => {
  test('passes every check, and the volume is compared once there is a season of history', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 27 * HOUR);
    const young = await feed.check((await feed.snapshot()).manifest);
    await feed.playTo(START + 29 * HOUR);
    const grown = await feed.check((await feed.snapshot()).manifest);

    expect(young.results.map(({ check }) => check)).toEqual([...CHECK_CODES]);
    expect(young.verdict).toBe('pass');
    expect(resultOf(young, 'volume')).toMatchObject({ status: 'notApplicable', severity: 'info' });
    expect(resultOf(young, 'volume').message).toContain('26.5 h of history do not yet reach back');
    expect(grown.verdict).toBe('pass');
    expect(new Set(grown.results.map(({ status }) => status))).toEqual(new Set(['pass', 'notApplicable']));
    expect(resultOf(grown, 'volume').message).toBe(
      'the newest 4 h hold 240 rows, the same hours a day before 240: 1.00 of it, from 0.60 to 4.00 expected',
    );
  });

  test('still passes after cycles were missed', async () => {
    const feed = await Feed.open();
    await feed.playTo(START + 8 * HOUR);
    const parent = (await feed.snapshot()).manifest;
    await feed.playTo(START + 80 * HOUR);
    const report = await feed.check((await feed.snapshot({ parent })).manifest);
    expect(report.verdict).toBe('pass');
    expect(resultOf(report, 'recency').numbers['fraction']).toBe(0.5);
  });
});

test('a newest stretch that is only partly loaded blocks, and passes when the rest has arrived', async () => {
  const feed = await Feed.open();
  await feed.playTo(START + 42 * HOUR);
  await holdSegments({ root: feed.root, share: 0.7 });
  await feed.playTo(START + 48 * HOUR);

  const half = await feed.check((await feed.snapshot()).manifest);
  await releaseSegments({ root: feed.root });
  await feed.seal();
  const whole = await feed.check((await feed.snapshot()).manifest);

  expect(half.verdict).toBe('block');
  expect(blocked(half)).toEqual(['volume', 'volume.hourly']);
  const volume = resultOf(half, 'volume');
  expect(volume).toMatchObject({ severity: 'critical', threshold: { minRatio: 0.6 } });
  expect(volume.numbers['ratio']).toBeCloseTo(0.3, 1);
  expect(volume.message).toMatch(
    /^the newest 4 h hold \d+ rows, the same hours a day before 240: 0\.\d+ of it, at least 0\.60 expected; .*partly loaded/,
  );
  expect(whole.verdict).toBe('pass');
});

test('a feed that stopped is not fresh', async () => {
  const feed = await Feed.open();
  await feed.playTo(START + 30 * HOUR);
  const report = await feed.check((await feed.snapshot({ eventNowMs: START + 33 * HOUR })).manifest);
  expect(blocked(report)).toContain('freshness');
  expect(resultOf(report, 'freshness').message).toContain(
    'the newest labelled row lies 2.5 h before the cutoff 2026-01-06 08:30 UTC',
  );
  expect(resultOf(report, 'freshness').message).toContain('the newest arrival at the source 3 h before');
});

test('no rows block every check that needs them, and none crashes', async () => {
  const feed = await Feed.open();
  const report = await feed.check((await feed.snapshot({ eventNowMs: START + HOUR })).manifest);
  expect(report.verdict).toBe('block');
  const needNone = [
    'malformed',
    'source.schema',
    'volume',
    'volume.hourly',
    'volume.arrival',
    'duplicates',
    'clock',
    'values',
  ];
  const aboutRows = ['feature-parity', 'score-parity', 'leakage.time', 'leakage.overlap', 'feedback-loop'];
  const free = new Set([...needNone, ...aboutRows, 'estimated-performance']);
  expect(blocked(report)).toEqual(CHECK_CODES.filter((code) => !free.has(code)));
  expect(resultOf(report, 'volume').status).toBe('notApplicable');
});

describe('each check', () => {
  let feed: Feed;
  let clean: SnapshotManifest;
  const cleanups: (() => Promise<void>)[] = [];

  // One clean snapshot serves all cases; each changes the manifest or the config.
  beforeAll(async () => {
    feed = await Feed.open(feedConfig(), (cleanup) => cleanups.push(cleanup));
    await feed.playTo(START + 30 * HOUR);
    clean = (await feed.snapshot()).manifest;
  });
  afterAll(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup();
  });

  type Case = {
    what: string;
    check: CheckCode;
    config?: Partial<LineConfigInput>;
    change?: (manifest: SnapshotManifest) => SnapshotManifest;
    status: CheckResult['status'];
    says: RegExp;
    nowMs?: number;
  };
  const source = (changes: Partial<SnapshotManifest['source']>) => (manifest: SnapshotManifest) => ({
    ...manifest,
    source: { ...manifest.source, ...changes },
  });
  const silence = { guard: 'volume' as const, until: '2026-01-06T12:00:00Z', reason: 'a planned outage of yesterday' };
  const half = source({ recent: 412, recentSeasonBack: 1010 });

  const cases: Case[] = [
    {
      what: 'fewer rows than asked for',
      check: 'volume.min-rows',
      config: { snapshot: { minRows: 5_000 } },
      status: 'block',
      says: /1,416 fresh rows .* at least 5,000/,
    },
    {
      what: 'no holdout',
      check: 'volume.min-rows',
      change: (m) => ({ ...m, counts: { ...m.counts, holdout: 0 } }),
      status: 'block',
      says: /0 to test on/,
    },
    {
      what: 'rows that can not be read',
      check: 'malformed',
      change: (m) => ({ ...m, counts: { ...m.counts, read: 1_000, malformed: 11 } }),
      status: 'block',
      says: /^11 of 1,000 rows of .* can not be read: 0.011 of them, at most 0.01/,
    },
    {
      what: 'a torn line',
      check: 'malformed',
      change: (m) => ({ ...m, counts: { ...m.counts, malformed: 1 } }),
      status: 'pass',
      says: /^1 of/,
    },
    {
      what: 'arrivals that stopped',
      check: 'freshness',
      change: (m) => source({ newestArrivalMs: m.eventNowMs - 121 * MINUTE })(m),
      status: 'block',
      says: /newest arrival at the source 2 h before/,
    },
    {
      what: 'arrivals within the lag',
      check: 'freshness',
      change: (m) => source({ newestArrivalMs: m.eventNowMs - 2 * HOUR })(m),
      status: 'pass',
      says: /at most 2 h/,
    },
    {
      what: 'a source where nothing arrived',
      check: 'freshness',
      change: source({ newestArrivalMs: null }),
      status: 'block',
      says: /nothing ever arrived/,
    },
    {
      what: 'too small a recent share',
      check: 'recency',
      config: { checks: { freshness: { minRecentFraction: 0.6 } } },
      status: 'block',
      says: /hold 240 of the 480 fresh rows of the newest 8 h: 0.50 of them, at least 0.60/,
    },
    {
      what: 'half the rows of a season before',
      check: 'volume',
      change: half,
      status: 'block',
      says: /the newest 4 h hold 412 rows, the same hours a day before 1,010: 0.41 of it, at least 0.60 expected/,
    },
    {
      what: 'many times the rows of a season before',
      check: 'volume',
      change: source({ recent: 5_000, recentSeasonBack: 1_000 }),
      status: 'block',
      says: /5.00 times it, at most 4.00/,
    },
    {
      what: 'nothing a season before, though there is history',
      check: 'volume',
      change: source({ recentSeasonBack: 0 }),
      status: 'block',
      says: /nothing to compare with/,
    },
    {
      what: 'nothing a season before, for want of history',
      check: 'volume',
      change: (m) => source({ recentSeasonBack: 0, firstEventMs: m.cutoffMs - 28 * HOUR + 1 })(m),
      status: 'notApplicable',
      says: /28 h are needed/,
    },
    {
      what: 'a silence in force',
      check: 'volume',
      config: { silences: [silence] },
      change: half,
      status: 'silenced',
      says: /^silenced until 2026-01-06T12:00:00Z \(a planned outage of yesterday\); it would have said: the newest 4 h hold 412/,
    },
    {
      what: 'a silence that is over',
      check: 'volume',
      config: { silences: [silence] },
      change: half,
      nowMs: Date.parse(silence.until),
      status: 'block',
      says: /^the newest 4 h hold 412/,
    },
    {
      what: 'a silence of another check',
      check: 'volume',
      config: { silences: [{ ...silence, guard: 'leakage' }] },
      change: half,
      status: 'block',
      says: /412/,
    },
    {
      what: 'a check that may only warn',
      check: 'volume',
      config: { checks: { volume: { severity: 'warn' } } },
      change: half,
      status: 'warn',
      says: /^the newest 4 h hold 412/,
    },
    {
      what: 'a check that is only tried',
      check: 'volume',
      config: { checks: { volume: { severity: 'dryRun' } }, silences: [silence] },
      change: half,
      status: 'dryRun',
      says: /^only tried \(severity dryRun\); it would have said: the newest 4 h hold 412/,
    },
    {
      what: 'a file with other rows than the manifest says',
      check: 'schema',
      change: (m) => ({ ...m, counts: { ...m.counts, train: m.counts.train - 1 } }),
      status: 'block',
      says: /train has 1,416 rows, the manifest says 1,415/,
    },
    {
      what: 'a feature that the files do not have',
      check: 'schema',
      config: { features: [{ kind: 'numeric', name: 'height' }] },
      status: 'block',
      says: /column "height" of train is missing, expected FLOAT/,
    },
    {
      what: 'a feature of another kind',
      check: 'schema',
      config: { features: [{ kind: 'numeric', name: 'topic' }] },
      status: 'block',
      says: /column "topic" of train is BIGINT, expected FLOAT/,
    },
    {
      what: 'values that are no numbers',
      check: 'schema',
      change: (m) => ({ ...m, features: m.features.map((f) => ({ ...f, invalid: 3 })) }),
      status: 'block',
      says: /feature "topic" holds 3 values/,
    },
    {
      what: 'a feature that no row has',
      check: 'schema',
      change: (m) => ({ ...m, features: m.features.map((f) => ({ ...f, missingTrained: 1 })) }),
      status: 'warn',
      says: /no row has a value of "topic", "length"/,
    },
    {
      what: 'a joined feature that was not there when serving',
      check: 'feature-parity',
      change: (m) => ({ ...m, features: m.features.map((f) => ({ ...f, joined: true, missingServed: 0.9 })) }),
      status: 'block',
      says: /"length" is missing in 0.90 of what was served and 0 ?.* of what trains/,
    },
    {
      what: 'a joined feature that was mostly there',
      check: 'feature-parity',
      change: (m) => ({ ...m, features: m.features.map((f) => ({ ...f, joined: true, missingServed: 0.15 })) }),
      status: 'pass',
      says: /a gap of at most 0.20/,
    },
    {
      what: 'a joined feature of unknown parity',
      check: 'feature-parity',
      change: (m) => ({ ...m, features: m.features.map((f) => ({ ...f, joined: true, missingServed: null })) }),
      status: 'block',
      says: /expected/,
    },
    {
      what: 'too few rows to see a leak',
      check: 'leakage',
      config: { checks: { leakage: { minSupport: 10_000 } } },
      status: 'block',
      says: /can not show whether a feature leaks/,
    },
    {
      what: 'labels of one class',
      check: 'leakage',
      change: (m) => ({ ...m, counts: { ...m.counts, positives: 0 } }),
      status: 'block',
      says: /0 of them positive/,
    },
    {
      what: 'hardly any positives',
      check: 'label',
      config: { checks: { label: { minPositiveRate: 0.4 } } },
      status: 'block',
      says: /590 of 1,770 fresh rows are positive: 0.33 of them, from 0.40/,
    },
    {
      what: 'nearly only positives',
      check: 'label',
      config: { checks: { label: { maxPositiveRate: 0.3 } } },
      status: 'block',
      says: /to 0.30 expected/,
    },
  ];

  test.each(cases)('$check: $what', async ({ check, config, change, status, says, nowMs }) => {
    const report = await feed.check(change?.(clean) ?? clean, { config: feedConfig(config), nowMs: nowMs ?? START });
    const result = resultOf(report, check);
    expect(result.message).toMatch(says);
    expect(result.status).toBe(status);
    expect(report.results.some((other) => other.status === 'block') ? 'block' : 'pass').toBe(report.verdict);
  });
});

test('files that can not be read block every check with the reason', async () => {
  const feed = await Feed.open();
  await feed.playTo(START + 8 * HOUR);
  const { manifest } = await feed.snapshot();
  const broken = join(feed.root, 'broken.parquet');
  await writeFile(broken, 'PAR1 and no more');
  const files = { ...(await localFiles(feed.artifacts, manifest)), holdout: [broken] };

  const report = await feed.check(manifest, { files });

  const mayBlock = CHECK_CODES.filter((code) => feed.config.checks[CHECK_SETTINGS[code]].severity === 'block');
  expect(blocked(report)).toEqual(mayBlock);
  expect(report.results[0]?.message).toMatch(/could not be run, so nothing is known: .*broken\.parquet/);
});
