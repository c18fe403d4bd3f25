import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { lineConfigSchema, type GateConfig } from '../../config/schema.ts';
import { streamSeed } from '../../data/evaluation/random.ts';
import { startThread } from '../../scoring/start-thread.ts';
import { correlationOf } from './binormal.ts';
import { summarise, type DecisionFigures } from './decision-figures.ts';
import type { Share } from './decisions-thread.ts';
import type { Scenario, Trial } from './simulation.ts';
import type { Scene } from './simulated-log.ts';

const PREVALENCE = 0.15;
const CHAMPION_AUC = 0.72;

/** A line with the defaults; only what the trials are judged by is read. */
const config = lineConfigSchema.parse({ line: 'simulated', features: [{ kind: 'numeric', name: 'x' }] }).gate;

/** 4,000 rows of 200 users, and a challenger that was warm-started: its scores follow the champion's closely. */
const plain: Omit<Scene, 'challenger' | 'champion'> = {
  users: 200,
  slatesPerUser: 2,
  rowsPerSlate: 10,
  activity: 0,
  prevalence: PREVALENCE,
  userShare: 0.1,
  slateShare: 0.05,
  alike: 0.996,
  userNoise: 0.2,
};

/** A tenth of the users makes half of the log. */
const HEAVY = { activity: 1.3 };

function scenario(
  name: string,
  loss: number,
  { pilotUsers, ...change }: Partial<Scene> & { pilotUsers?: number } = {},
): Scenario {
  const scene: Scene = {
    ...plain,
    challenger: correlationOf(CHAMPION_AUC - loss, PREVALENCE),
    champion: correlationOf(CHAMPION_AUC, PREVALENCE),
    ...change,
  };
  return { name, scene, trueGain: 0 - loss, ...(pilotUsers === undefined ? {} : { pilotUsers }) };
}

/** Made when they are needed: the correlations take a moment to find. */
function makeScenarios({ tolerance }: GateConfig) {
  return {
    noLoss: scenario('as good', 0),
    atTolerance: scenario('a loss of the tolerance', tolerance),
    detected: scenario('a loss of twice the tolerance, on the size named', 2 * tolerance, { pilotUsers: 100 }),
    fewUsers: scenario('20 users, a loss of the tolerance', tolerance, { users: 20 }),
    heavyUsers: scenario('heavy users, a loss of the tolerance', tolerance, HEAVY),
    nearCopies: scenario('near copies and heavy users, the same', tolerance, { ...HEAVY, alike: 0.9999 }),
  };
}

type Results = Record<keyof ReturnType<typeof makeScenarios>, Trial[]>;

/**
 * How often the gate is wrong: challengers whose true AUC is known are scored by the evaluation's own bootstrap and judged
 * by the real gate with its defaults, each on a log of its own.
 */
export async function measureDecisions({
  simulations,
  say,
}: {
  simulations: number;
  say: (line: string) => void;
}): Promise<DecisionFigures> {
  const startedAt = performance.now();
  const scenarios = makeScenarios(config);
  const results: Partial<Results> = {};
  for (const [index, [key, one]] of Object.entries(scenarios).entries()) {
    results[key as keyof Results] = await runTrials(one, simulations, index);
    say(`${one.name}: ${String(simulations)} trials`);
  }
  const figures = summarise(scenarios, results as Results);
  return { ...figures, decisionSeconds: Number(((performance.now() - startedAt) / 1000).toFixed(1)) };
}

async function runTrials(one: Scenario, simulations: number, index: number): Promise<Trial[]> {
  const seeds = Array.from({ length: simulations }, (_, trial) => streamSeed(index, trial));
  const threads = Math.min(8, availableParallelism());
  const shares = Array.from({ length: threads }, (_, thread) => seeds.filter((__, at) => at % threads === thread));
  return (await Promise.all(shares.map((share) => runShare({ scenario: one, config, seeds: share })))).flat();
}

async function runShare(share: Share): Promise<Trial[]> {
  const thread = startThread({ beside: import.meta.url, entry: './decisions-thread', workerData: share });
  const [trials] = (await once(thread, 'message')) as [Trial[]];
  return trials;
}
