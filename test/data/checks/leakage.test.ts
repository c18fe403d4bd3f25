import { describe, expect, test } from 'vitest';
import type { CheckReport } from '../../../data/checks/run-checks.ts';
import { clickOn, Feed, feedConfig, HOUR, impression, resultOf, START } from '../feed.ts';

describe('leakage', () => {
  const features = [
    { kind: 'categorical' as const, name: 'topic' },
    { kind: 'numeric' as const, name: 'length' },
    { kind: 'numeric' as const, name: 'seconds' },
  ];
  /** 400 rows of which every third is clicked, with features by row number. */
  async function reportOf(
    values: (n: number, clicked: boolean) => Record<string, number | string | null>,
  ): Promise<CheckReport> {
    const feed = await Feed.open(feedConfig({ features }));
    const shown = Array.from({ length: 400 }, (_, n) => impression(n, { features: values(n, n % 3 === 0) }));
    await feed.write(
      shown,
      shown.filter((_, n) => n % 3 === 0).map((record) => clickOn(record)),
    );
    return feed.check((await feed.snapshot({ eventNowMs: START + 8 * HOUR })).manifest);
  }
  const harmless = (n: number) => ({ topic: String((n % 7) + 1), length: n % 10 });

  test('of a value that was written after the label is found, forwards and backwards', async () => {
    const after = resultOf(
      await reportOf((n, clicked) => ({ ...harmless(n), seconds: clicked ? 20 + (n % 40) : n % 30 })),
      'leakage',
    );
    const backwards = resultOf(
      await reportOf((n, clicked) => ({ ...harmless(n), seconds: clicked ? -20 - (n % 40) : -(n % 30) })),
      'leakage',
    );

    expect(after.status).toBe('block');
    expect(after.message).toMatch(
      /^"seconds" alone ranks the label with AUC 0\.9\d by its value, at most 0\.85 expected/,
    );
    expect(backwards.numbers['highestAuc']).toBeCloseTo(Number(after.numbers['highestAuc']), 10);
  });

  test('of a value that is only there after the label is found', async () => {
    const report = await reportOf((n, clicked) => ({
      ...harmless(n),
      topic: clicked ? '3' : null,
      seconds: clicked ? null : 1,
    }));
    const leakage = resultOf(report, 'leakage');
    expect(leakage.message).toContain('"topic" alone ranks the label with AUC 1.00 by being missing');
    expect(leakage.message).toContain('"seconds" alone ranks the label with AUC 1.00 by being missing');
  });

  test('counts ties half: a constant tells nothing', async () => {
    const leakage = resultOf(await reportOf(() => ({ topic: '1', length: 1, seconds: 1 })), 'leakage');
    expect(leakage).toMatchObject({ status: 'pass', numbers: { highestAuc: 0.5 } });
  });

  test('can not be told from a feature that few rows have, and says so', async () => {
    const leakage = resultOf(await reportOf((n) => ({ ...harmless(n), seconds: n < 150 ? n : null })), 'leakage');
    expect(leakage.status).toBe('warn');
    expect(leakage.message).toContain('"seconds" can not be judged by value: fewer than 200 rows have one');
  });
});
