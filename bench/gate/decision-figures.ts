import type { GateVerdict } from '../../policy/gate.ts';
import type { Scenario, Trial } from './simulation.ts';

/** Shares of trials. Goals: false rejection at most 0.05, detection at least 0.8, coverage 0.95 +- 0.02. */
export interface DecisionFigures {
  /** Of each scenario. */
  simulations: number;
  /** Rejected: a challenger that is as good; one that is worse by the tolerance, where the test has its level. */
  falseRejection: number;
  falseRejectionAtTolerance: number;
  /** Passed, though worse by the tolerance; though worse by twice of it. */
  falsePassAtTolerance: number;
  falsePassAtTwice: number;
  /** Rejected at a loss of twice the tolerance, on as many rows as a pilot of its own named, and those on average. */
  detection: number;
  detectionRows: number;
  /** True gain above the lower bound, which the gate passes by; below the upper one, which it rejects by; both (0.9). */
  coverage: number;
  coverageUpper: number;
  coverageTwoSided: number;
  /** Standard errors that the number of trials leaves. */
  monteCarloError: { rejection: number; detection: number; coverage: number };
  /** At a loss of the tolerance. */
  nasty: Record<string, NastyFigures>;
  decisionSeconds: number;
}

interface NastyFigures {
  rows: number;
  /** By any rule: of few rows some are rejected for their calibration. */
  falseRejection: number;
  falsePass: number;
  coverage: number;
  coverageUpper: number;
}

type Key = 'noLoss' | 'atTolerance' | 'detected' | 'fewUsers' | 'heavyUsers' | 'nearCopies';

export function summarise(
  scenarios: Record<Key, Scenario>,
  results: Record<Key, Trial[]>,
): Omit<DecisionFigures, 'decisionSeconds'> {
  const share = (key: Key, kind: GateVerdict['kind']): number =>
    meanOf(results[key].map((trial) => Number(trial.kind === kind)));
  const covered = (keys: readonly Key[], holds: (trial: Trial, truth: number) => boolean): number =>
    meanOf(keys.flatMap((key) => results[key].map((trial) => Number(holds(trial, scenarios[key].trueGain)))));
  const plain = ['noLoss', 'atTolerance', 'detected'] as const;
  const simulations = results.noLoss.length;
  const nasty = (key: Key): NastyFigures => ({
    rows: Math.round(meanOf(results[key].map(({ rows }) => rows))),
    falseRejection: share(key, 'reject'),
    falsePass: share(key, 'pass'),
    coverage: covered([key], aboveLower),
    coverageUpper: covered([key], belowUpper),
  });
  return {
    simulations,
    falseRejection: share('noLoss', 'reject'),
    falseRejectionAtTolerance: share('atTolerance', 'reject'),
    falsePassAtTolerance: share('atTolerance', 'pass'),
    falsePassAtTwice: share('detected', 'pass'),
    detection: share('detected', 'reject'),
    detectionRows: Math.round(meanOf(results.detected.map(({ rows }) => rows))),
    coverage: covered(plain, aboveLower),
    coverageUpper: covered(plain, belowUpper),
    coverageTwoSided: covered(plain, (trial, truth) => aboveLower(trial, truth) && belowUpper(trial, truth)),
    monteCarloError: {
      rejection: errorOf(0.05, simulations),
      detection: errorOf(0.8, simulations),
      coverage: errorOf(0.95, plain.length * simulations),
    },
    nasty: { fewUsers: nasty('fewUsers'), heavyUsers: nasty('heavyUsers'), nearCopies: nasty('nearCopies') },
  };
}

export function decisionTable(figures: DecisionFigures): string {
  const { monteCarloError: error, nasty } = figures;
  const lines: [string, string][] = [
    ['trials', `${String(figures.simulations)} of each kind, in ${String(figures.decisionSeconds)} s`],
    ['false rejection', `${percent(figures.falseRejection)} at no loss (goal 5 %)`],
    ['', `${percent(figures.falseRejectionAtTolerance)} at a loss of the tolerance (+- ${percent(error.rejection)})`],
    ['false pass', `${percent(figures.falsePassAtTolerance)} at a loss of the tolerance`],
    ['', `${percent(figures.falsePassAtTwice)} at twice that, on the size named`],
    [
      'detection',
      `${percent(figures.detection)} of losses of twice the tolerance, on ${figures.detectionRows.toLocaleString('en-US')} rows (goal 80 %, +- ${percent(error.detection)})`,
    ],
    [
      'coverage',
      `${percent(figures.coverage)} lower bound, ${percent(figures.coverageUpper)} upper (95 % +- 2 %; +- ${percent(error.coverage)}), ${percent(figures.coverageTwoSided)} both (90 %)`,
    ],
    ...Object.entries(nasty).map(([name, found]): [string, string] => [
      name,
      `rejected ${percent(found.falseRejection)}, passed ${percent(found.falsePass)} at a loss of the tolerance; coverage ${percent(found.coverage)} lower, ${percent(found.coverageUpper)} upper`,
    ]),
  ];
  return lines.map(([name, text]) => `${name.padEnd(17)}${text}`).join('\n');
}

const aboveLower = ({ gain }: Trial, truth: number): boolean => gain.lower <= truth;
const belowUpper = ({ gain }: Trial, truth: number): boolean => gain.upper >= truth;

function meanOf(values: readonly number[]): number {
  return Number((values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(4));
}

/** Of a share, by the binomial distribution. */
function errorOf(share: number, trials: number): number {
  return Number(Math.sqrt((share * (1 - share)) / trials).toFixed(4));
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
