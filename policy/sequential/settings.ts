/** The share of a line's alpha that the evidence has; three checks in a row against a stricter z have the rest. */
export const EVIDENCE_SHARE = 0.9;

/** What the sequential monitor is set to where a line does not say; docs/detection.md has what it does. */
export const SEQUENTIAL = {
  /** Of a window. */
  alpha: 0.01,
  /** Of the metrics' common alpha. */
  errorRateWeight: 0.2,
  /** Of the z of a single check, after the arms' drift is discounted. */
  backstopZ: 3.8,
  /** Factors by which a rate of bad events is worse: one, since what lies on either side of it is found nearly as soon. */
  badEventFactors: [2.5],
  /** With it 0.28 is planned with where there is no history: what two arms have that vary by 20 % each. */
  dispersionPrior: 0.25,
  dispersionFloor: 0.02,
  consecutiveZ: 2.33,
} as const;
