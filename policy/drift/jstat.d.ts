/** The part of jStat that is used; the package has no types of its own. */
declare module 'jstat' {
  interface ContinuousDistribution {
    /** P(X <= x) for `degreesOfFreedom` > 0. */
    cdf(x: number, degreesOfFreedom: number): number;
    /** The x with P(X <= x) = p. */
    inv(p: number, degreesOfFreedom: number): number;
  }
  const jStat: { chisquare: ContinuousDistribution };
  export default jStat;
}
