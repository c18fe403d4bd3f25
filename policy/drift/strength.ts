import type { DriftComparison } from './effects.ts';

/** How strongly a column drifted, over all measures. */
export interface DriftStrength {
  /** The largest and the second largest effect, each in multiples of its threshold. */
  largest: number;
  second: number;
  psi: number;
  significant: boolean;
  /** The two largest in words: `PSI 0.71, KS 0.38`. */
  measures: string;
}

const NAMES: Record<DriftComparison['effects'][number]['measure'], string> = {
  psi: 'PSI',
  jensenShannon: 'Jensen-Shannon',
  lInfinity: 'L-infinity',
  kolmogorovSmirnov: 'KS',
  wasserstein: 'Wasserstein',
};

/** @param significant what a decision over all columns at once said of this one. */
export function driftStrength({ effects, psi }: DriftComparison, significant: boolean): DriftStrength {
  const ordered = effects
    .map(({ measure, value, threshold }) => ({ measure, value, times: value / threshold }))
    .toSorted((a, b) => b.times - a.times);
  return {
    largest: ordered[0]?.times ?? 0,
    second: ordered[1]?.times ?? 0,
    psi,
    significant,
    measures: ordered
      .slice(0, 2)
      .map(({ measure, value }) => `${NAMES[measure]} ${value.toFixed(2)}`)
      .join(', '),
  };
}
