import { z } from 'zod';

const number = z.number().nullable();
const byStrategy = z.record(z.string(), number);
const interval = z.tuple([number, number]);
const part = { rows: z.number(), auc: byStrategy, normalizedEntropy: byStrategy };
const cost = z.object({
  trainings: z.number(),
  examples: z.number(),
  tuningExamples: z.number(),
  seconds: z.number(),
  tuningSeconds: z.number(),
});

/** What `prequential` reports; strategies go by names such as `incremental@4h`. Null: it could not be measured. */
export const reportSchema = z.object({
  rows: z.number(),
  scoredRows: z.number(),
  scoredUsers: z.number(),
  positiveShare: z.number(),
  /** Means over the seeds. */
  strategies: z.record(
    z.string(),
    z.object({ auc: number, aucDeviation: number, normalizedEntropy: number, aucLastDay: number }),
  ),
  days: z.array(z.object({ day: z.string(), ...part })),
  /** Blocks of four hours; `trailing` is the AUC of the day that ends with the block. */
  cycles: z.array(z.object({ fromMs: z.number(), toMs: z.number(), ...part, trailing: byStrategy })),
  intervals: z.object({
    auc: z.record(z.string(), interval),
    minusFull: z.record(z.string(), interval),
    minusFrozen: z.record(z.string(), interval),
    incrementalMinusFullLcb95: number,
    incrementalMinusFrozenLastDayLcb95: number,
    incrementalMinusFloorLcb95: byStrategy,
    trendPerDay: z.object({ slope: number, interval: interval.nullable() }),
    cumulatedDifference: z.array(z.object({ mean: number, interval })),
  }),
  /** After the bootstrap, of one seed on average. */
  costs: z.record(z.string(), cost),
  otherStrategies: z.record(z.string(), z.record(z.string(), z.number())),
  bootstrap: cost.extend({ untilMs: z.number() }),
});

export type Report = z.output<typeof reportSchema>;

export interface Figures extends Record<string, unknown> {
  aucFrozen: number | null;
  aucFull: number | null;
  aucWarm: number | null;
  aucIncremental: number | null;
  aucOnline: number | null;
  incrementalMinusFullLcb95: number | null;
  incrementalMinusFrozenLastDayLcb95: number | null;
  incrementalMinusFloorLcb95: number | null;
  computeShareIncremental: number | null;
  gainKeptAt4h: number | null;
}

/** The figures that the goals speak of, and all else as `detail`. */
export function figuresOf(report: Report): Figures & { detail: Report } {
  const { strategies, intervals, costs } = report;
  const aucOf = (name: string): number | null => strategies[name]?.auc ?? null;
  const gain = (name: string): number => (aucOf(name) ?? Number.NaN) - (aucOf('frozen') ?? Number.NaN);
  return {
    aucFrozen: aucOf('frozen'),
    aucFull: aucOf('full@4h'),
    aucWarm: aucOf('warmStart@4h'),
    aucIncremental: aucOf('incremental@4h'),
    aucOnline: aucOf('online@1h'),
    incrementalMinusFullLcb95: intervals.incrementalMinusFullLcb95,
    incrementalMinusFrozenLastDayLcb95: intervals.incrementalMinusFrozenLastDayLcb95,
    incrementalMinusFloorLcb95: intervals.incrementalMinusFloorLcb95['floor'] ?? null,
    computeShareIncremental: ratio(costs['incremental@4h']?.examples, costs['full@4h']?.examples),
    // A share of no gain, or of a loss, says nothing.
    gainKeptAt4h: gain('incremental@1h') > 0 ? ratio(gain('incremental@4h'), gain('incremental@1h')) : null,
    detail: report,
  };
}

function ratio(part: number | undefined, whole: number | undefined): number | null {
  if (part === undefined || whole === undefined || whole === 0) return null;
  const found = part / whole;
  return Number.isFinite(found) ? found : null;
}
