import { compareCategorical, compareNumeric } from '../policy/drift/compare.ts';
import type { DriftComparison } from '../policy/drift/effects.ts';
import { seededNormal } from '../policy/drift/seeded-normal.ts';

const NOMINAL = 0.05;
const ROWS = 2_000;
const SHIFT = 0.2;
const REPETITIONS = 4_000;
const POWER_REPETITIONS = 1_000;

/**
 * Share of repetitions in which each test of a comparison is significant, and in which the comparison decides for
 * drift.
 */
export type Rates = Record<string, number>;

/** What one repetition compares: standard normal numbers are made into a reference and a current sample. */
export type Scenario = (normal: () => number) => DriftComparison;

/** Two samples of `rows` standard normal numbers, the second shifted by `shift` standard deviations. */
export function normalScenario(rows: number, shift: number): Scenario {
  return numeric(rows, (z) => z, shift);
}

const lognormal = numeric(ROWS, Math.exp, 0);
/** Two thirds are 0, the others whole numbers: a count such as "clicks so far". */
const sparse: Scenario = numeric(ROWS, (z) => Math.max(0, Math.floor(4 * (z - 0.2))), 0);

/** Categories of a long tail: about 40, some of one row. */
const categories: Scenario = (normal) => {
  const draw = (): Map<string, number> => {
    const counts = new Map<string, number>();
    for (let row = 0; row < ROWS; row++) {
      const category = String(Math.floor(Math.exp(1 + normal())));
      counts.set(category, (counts.get(category) ?? 0) + 1);
    }
    return counts;
  };
  const reference = draw();
  return compareCategorical(reference, draw());
};

/** Rates at the 5 % level over repetitions of a scenario; the same seed gives the same rates. */
export function rejectionRates(scenario: Scenario, repetitions: number, seed: number): Rates {
  const normal = seededNormal(seed);
  const rejections: Rates = {};
  const count = (test: string, rejected: boolean): void => {
    rejections[test] = (rejections[test] ?? 0) + (rejected ? 1 / repetitions : 0);
  };
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const comparison = scenario(normal);
    for (const { measure, p } of comparison.effects) count(measure, p < NOMINAL);
    count('chiSquare', (comparison.chiSquare?.p ?? 1) < NOMINAL);
    count('decision', comparison.drifted);
  }
  return rejections;
}

export const description = 'false alarms and power of each drift test on simulated samples';

/** False alarms of every drift test on samples of one distribution, and their power at a small shift. */
export function run(): Promise<{ figures: Record<string, unknown>; table: string }> {
  const figures = {
    nominal: NOMINAL,
    rows: ROWS,
    repetitions: REPETITIONS,
    falseAlarms: {
      normal: rejectionRates(normalScenario(ROWS, 0), REPETITIONS, 1),
      lognormal: rejectionRates(lognormal, REPETITIONS, 2),
      sparse: rejectionRates(sparse, REPETITIONS, 3),
      categories: rejectionRates(categories, REPETITIONS, 4),
    },
    shift: SHIFT,
    power: rejectionRates(normalScenario(ROWS, SHIFT), POWER_REPETITIONS, 5),
  };
  const columns = { ...figures.falseAlarms, [`power at ${SHIFT} sigma`]: figures.power };
  return Promise.resolve({ figures, table: tableOf(columns) });
}

function numeric(rows: number, value: (normal: number) => number, shift: number): Scenario {
  return (normal) => {
    const reference = Float64Array.from({ length: rows }, () => value(normal()));
    return compareNumeric(
      reference,
      Float64Array.from({ length: rows }, () => value(normal() + shift)),
    );
  };
}

function tableOf(columns: Record<string, Rates>): string {
  const names = Object.keys(columns);
  const tests = Object.keys(columns['normal'] ?? {});
  const rows = tests.map((test) => [
    test,
    ...names.map((name) => {
      const rate = columns[name]?.[test];
      return rate === undefined ? '-' : `${(100 * rate).toFixed(2)} %`;
    }),
  ]);
  const lines = [['test', ...names], ['', ...names].map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
