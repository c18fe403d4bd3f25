import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { closeContenders, openContenders, type Contender } from '../../../data/evaluation/contenders.ts';
import { openHoldout, type Holdout } from '../../../data/evaluation/holdout.ts';
import { measureLatency } from '../../../data/evaluation/latency.ts';
import type { FeatureRows } from '../../../features/featurizer.ts';
import { columnsModel, rows, spec, writeHoldout } from './holdout-rows.ts';

let folder: string;
let holdout: Holdout;
let contenders: Contender[];
/** What the contenders were asked, in order. */
let asked: { who: string; rows: FeatureRows }[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'freshet-latency-'));
  const path = await writeHoldout(join(folder, 'holdout.parquet'), rows.slice(0, 100));
  const features = spec('c1', 'x1', 'c2', 'x2');
  const opened = await openContenders({
    challenger: { model: columnsModel, features },
    champion: { version: 1, model: columnsModel, features },
  });
  contenders = opened.map((contender) => ({
    ...contender,
    model: {
      score: (given) => {
        asked.push({ who: contender.name, rows: given });
        return contender.model.score(given);
      },
      close: () => contender.model.close(),
    },
  }));
  holdout = await openHoldout([path], [features, features]);
});

afterAll(async () => {
  holdout.close();
  await closeContenders(contenders);
  await rm(folder, { recursive: true, force: true });
});

describe('measureLatency', () => {
  it('lets both models take turns, each first as often, on the same rows, after a warm-up, in bounded time', async () => {
    asked = [];
    const figures = await measureLatency({ holdout, contenders, candidates: [3], checkpoint: () => undefined });
    expect(figures).toHaveLength(1);
    const pairs = Array.from({ length: asked.length / 2 }, (_, pair) => asked.slice(2 * pair, 2 * pair + 2));
    expect(pairs.length).toBeGreaterThan(5);
    expect(pairs.length).toBeLessThanOrEqual(1_002);
    for (const [index, pair] of pairs.entries()) {
      const [first, second] = pair.map(({ who }) => who);
      expect([first, second].sort()).toEqual(['the challenger', 'the champion (version 1)']);
      expect(first).toBe(index % 2 === 0 ? 'the challenger' : 'the champion (version 1)');
      expect(pair[0]?.rows).toEqual(pair[1]?.rows);
      expect(pair[0]?.rows).toMatchObject({ count: 3 });
      expect(pair[0]?.rows.ids).toHaveLength(6);
    }
    expect(asked[0]?.rows).not.toEqual(asked[2]?.rows);
  });

  it('repeats rows where a request is larger than the holdout', async () => {
    asked = [];
    await measureLatency({ holdout, contenders, candidates: [5_000], checkpoint: () => undefined });
    const { ids, dense } = asked[0]?.rows ?? { ids: [], dense: [] };
    expect([...dense.slice(0, 200)]).toEqual([...dense.slice(200, 400)]);
    expect(ids).toHaveLength(10_000);
  });

  it('stops when told to', async () => {
    const checkpoint = (): void => {
      throw new Error('stop');
    };
    await expect(measureLatency({ holdout, contenders, candidates: [1], checkpoint })).rejects.toThrow('stop');
  });
});
