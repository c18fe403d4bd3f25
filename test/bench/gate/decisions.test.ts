import { expect, test } from 'vitest';
import { correlationOf, latentAuc } from '../../../bench/gate/binormal.ts';
import { summarise } from '../../../bench/gate/decision-figures.ts';
import { runTrial, type Scenario, type Trial } from '../../../bench/gate/simulation.ts';
import { simulateLog, type Scene } from '../../../bench/gate/simulated-log.ts';
import { auc, calibrationRatio } from '../../../policy/statistics.ts';
import { defaults, normal } from '../../policy/gate-cases.ts';

const scene: Scene = {
  ...{ users: 2_000, slatesPerUser: 2, rowsPerSlate: 10, activity: 0.5, prevalence: 0.2 },
  ...{ userShare: 0.1, slateShare: 0.05, alike: 0.99, userNoise: 0.2, challenger: 0.3, champion: 0.5 },
};

test('the true AUC is that of a large log, and the scores are calibrated', () => {
  const { labels, scores } = simulateLog(scene, 1);
  for (const [model, r] of [scene.challenger, scene.champion].entries()) {
    // Three standard errors of 40,000 rows.
    expect(Math.abs(auc(labels, scores[model] ?? []) - latentAuc(r, 0.2))).toBeLessThan(0.012);
    expect(Math.abs(calibrationRatio(labels, scores[model] ?? []) - 1)).toBeLessThan(0.06);
  }
});

test('a correlation is found for an AUC', () => {
  expect(latentAuc(correlationOf(0.72, 0.15), 0.15)).toBeCloseTo(0.72, 6);
  expect(correlationOf(0.5, 0.15)).toBeCloseTo(0, 4);
});

test('a trial is the same for the same seed, and judged on the size that its pilot names', async () => {
  const config = { ...defaults, replicates: 200, tolerance: 0.02 };
  const clearly: Scenario = { name: '', trueGain: NaN, scene: { ...scene, users: 100 } };
  const trial = await runTrial(clearly, config, 3);
  expect(trial).toMatchObject({ kind: 'reject' });
  expect(await runTrial(clearly, config, 3)).toEqual(trial);
  const on = async (tolerance: number): Promise<number> =>
    (await runTrial({ ...clearly, pilotUsers: 50 }, { ...config, tolerance }, 3)).rows;
  // Half the tolerance takes four times the rows.
  expect((await on(0.005)) / (await on(0.01))).toBeCloseTo(4, 0);
});

test('shares count verdicts and bounds against the true gain', () => {
  const scenario: Scenario = { name: '', scene, trueGain: 0 };
  const trial = (kind: Trial['kind'], estimate: number): Trial => ({ kind, gain: normal(estimate, 1), rows: 10 });
  const good = [trial('pass', 0), trial('pass', 1), trial('inconclusive', -2), trial('reject', -3)];
  const lost = [trial('reject', -2), trial('reject', -2), trial('reject', -2), trial('inconclusive', 2)];
  const nasty = { fewUsers: good, heavyUsers: good, nearCopies: lost };
  const results = { noLoss: good, atTolerance: lost, detected: lost, ...nasty };
  const keys = Object.keys(results) as (keyof typeof results)[];
  const scenarios = Object.fromEntries(keys.map((key) => [key, scenario])) as Record<keyof typeof results, Scenario>;
  expect(summarise(scenarios, results)).toMatchObject({
    simulations: 4,
    falseRejection: 0.25,
    falseRejectionAtTolerance: 0.75,
    falsePassAtTwice: 0,
    detection: 0.75,
    coverage: 0.8333,
    coverageUpper: 0.3333,
    coverageTwoSided: 0.1667,
    nasty: { nearCopies: { falseRejection: 0.75, coverage: 0.75 } },
  });
});
