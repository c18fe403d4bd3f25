import type { Cell } from './cells.ts';
import type { Noise } from './draws.ts';

export interface DetectionFigures {
  /** Of the sequential monitor, over all cells in which nothing was worse, outages too. */
  maxFalseRollback: number;
  /** At 2 % and 600 canary requests a minute, of the worst onset; null: not found within the window. */
  x3MedianSeconds: number | null;
  x3P90Seconds: number | null;
  x3NoisyMedianSeconds: number | null;
  x3NoisyP90Seconds: number | null;
  x3AllMetricsMedianSeconds: number | null;
  x3AllMetricsP90Seconds: number | null;
  x3AllMetricsNoisyMedianSeconds: number | null;
  x3AllMetricsNoisyP90Seconds: number | null;
  cells: Cell[];
}

export function detectionFigures(cells: Cell[]): DetectionFigures {
  const rates = cells
    .filter(({ scenario }) => scenario.effect === 1)
    .flatMap(({ monitors }) => [monitors.sequential.falseRate, monitors.allMetrics.falseRate]);
  const worst = (
    noise: Noise,
    monitor: 'sequential' | 'allMetrics',
    figure: 'medianSeconds' | 'p90Seconds',
  ): number | null => {
    const found = cells
      .filter(
        ({ traffic, ramps, scenario }) =>
          ramps > 0 &&
          traffic.base === 0.02 &&
          traffic.canaryPerMinute === 600 &&
          traffic.noise === noise &&
          scenario.effect === 3,
      )
      .map(({ monitors }) => monitors[monitor][figure] ?? Infinity);
    const longest = Math.max(...found);
    return longest === Infinity ? null : longest;
  };
  return {
    maxFalseRollback: Math.max(...rates),
    x3MedianSeconds: worst('clean', 'sequential', 'medianSeconds'),
    x3P90Seconds: worst('clean', 'sequential', 'p90Seconds'),
    x3NoisyMedianSeconds: worst('lognormal', 'sequential', 'medianSeconds'),
    x3NoisyP90Seconds: worst('lognormal', 'sequential', 'p90Seconds'),
    x3AllMetricsMedianSeconds: worst('clean', 'allMetrics', 'medianSeconds'),
    x3AllMetricsP90Seconds: worst('clean', 'allMetrics', 'p90Seconds'),
    x3AllMetricsNoisyMedianSeconds: worst('lognormal', 'allMetrics', 'medianSeconds'),
    x3AllMetricsNoisyP90Seconds: worst('lognormal', 'allMetrics', 'p90Seconds'),
    cells,
  };
}
