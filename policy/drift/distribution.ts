import { at, requireFinite, requireSameLength, requireWeights } from './vectors.ts';

/** A sample as a step function: its distinct values with the weight at or below each. */
export interface Distribution {
  /** Ascending, distinct, finite. */
  values: Float64Array;
  /** Weight at or below each value; the last is the total. */
  cumulative: Float64Array;
  /** Independent observations that the sample is worth; tests use it as n. */
  effectiveCount: number;
  /** Every weight is a whole number of independent observations, so that exact tests hold. */
  counted: boolean;
}

/** Plain values in any order, or a distribution made before. */
export type Sample = ArrayLike<number> | Distribution;

/** The distribution of plain values in any order. Throws a RangeError when there are none or one is not finite. */
export function empirical(values: ArrayLike<number>): Distribution {
  requireFinite(values, 'the sample');
  const sorted = Float64Array.from(values);
  if (!ascending(sorted)) sorted.sort();
  return steps(sorted, null, sorted.length, true);
}

/**
 * The distribution of values with weights, as a profile keeps them. Values in any order; a weight of 0 drops its value.
 *
 * `effectiveCount` is the number of independent observations behind the sample. Pass the sum of the weights where they
 * count rows (a value seen 7 times has weight 7), or the number of kept values of a random sample of rows. Without it
 * Kish's effective size is taken, (sum w)^2 / sum w^2, which is right for sampling weights and too small, hence
 * careful, for a sketch whose items stand for unequal numbers of rows.
 *
 * Throws a RangeError when lengths differ, a value is not finite, a weight is negative or all of them are 0, or the
 * effective count is not above 0.
 */
export function weighted(values: ArrayLike<number>, weights: ArrayLike<number>, effectiveCount?: number): Distribution {
  requireSameLength(values, weights, 'values and weights');
  requireFinite(values, 'the sample');
  requireWeights(weights, 'the weights');
  if (effectiveCount !== undefined && !(effectiveCount > 0 && effectiveCount < Infinity)) {
    throw new RangeError(`the effective count must be a finite number above 0, not ${effectiveCount}`);
  }
  let total = 0;
  let squares = 0;
  let whole = true;
  for (let index = 0; index < weights.length; index++) {
    const weight = at(weights, index);
    total += weight;
    squares += weight * weight;
    whole &&= Number.isInteger(weight);
  }
  const count = effectiveCount ?? (total * total) / squares;
  const order = Uint32Array.from({ length: values.length }, (_, index) => index);
  order.sort((a, b) => at(values, a) - at(values, b));
  const sorted = Float64Array.from(order, (index) => at(values, index));
  const sortedWeights = Float64Array.from(order, (index) => at(weights, index));
  return steps(sorted, sortedWeights, count, whole && count === total);
}

export function toDistribution(sample: Sample): Distribution {
  return 'cumulative' in sample ? sample : empirical(sample);
}

export function totalWeight(distribution: Distribution): number {
  return at(distribution.cumulative, distribution.cumulative.length - 1);
}

/**
 * The smallest value with at least the share `q` of the weight at or below it (the inverse of the distribution
 * function).
 */
export function inverseCdf(distribution: Distribution, q: number): number {
  const wanted = q * totalWeight(distribution);
  let low = 0;
  let high = distribution.values.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(distribution.cumulative, middle) >= wanted) high = middle;
    else low = middle + 1;
  }
  return at(distribution.values, low);
}

/** Both samples as one, each weighing as many observations as it is worth. */
export function pool(a: Distribution, b: Distribution): Distribution {
  const values = new Float64Array(a.values.length + b.values.length);
  const weights = new Float64Array(values.length);
  const aScale = a.effectiveCount / totalWeight(a);
  const bScale = b.effectiveCount / totalWeight(b);
  let count = 0;
  let before = 0;
  walk(a, b, ({ value, aCumulative, bCumulative }) => {
    const cumulative = aCumulative * aScale + bCumulative * bScale;
    values[count] = value;
    weights[count++] = cumulative - before;
    before = cumulative;
  });
  return steps(
    values.subarray(0, count),
    weights.subarray(0, count),
    a.effectiveCount + b.effectiveCount,
    a.counted && b.counted,
  );
}

export interface Step {
  value: number;
  /** Next larger value of either sample; the value itself at the end. */
  next: number;
  aCumulative: number;
  bCumulative: number;
}

/** Visits the distinct values of both samples in ascending order. The step is one object, changed between visits. */
export function walk(a: Distribution, b: Distribution, visit: (step: Readonly<Step>) => void): void {
  let i = 0;
  let j = 0;
  const step: Step = { value: 0, next: Math.min(at(a.values, 0), at(b.values, 0)), aCumulative: 0, bCumulative: 0 };
  while (i < a.values.length || j < b.values.length) {
    step.value = step.next;
    if (i < a.values.length && at(a.values, i) === step.value) step.aCumulative = at(a.cumulative, i++);
    if (j < b.values.length && at(b.values, j) === step.value) step.bCumulative = at(b.cumulative, j++);
    const nextA = i < a.values.length ? at(a.values, i) : Infinity;
    const nextB = j < b.values.length ? at(b.values, j) : Infinity;
    const next = Math.min(nextA, nextB);
    step.next = next === Infinity ? step.value : next;
    visit(step);
  }
}

function ascending(values: Float64Array): boolean {
  for (let index = 1; index < values.length; index++) if (at(values, index) < at(values, index - 1)) return false;
  return true;
}

function steps(
  sorted: Float64Array,
  weights: Float64Array | null,
  effectiveCount: number,
  counted: boolean,
): Distribution {
  const values = new Float64Array(sorted.length);
  const cumulative = new Float64Array(sorted.length);
  let count = 0;
  let weight = 0;
  for (let index = 0; index < sorted.length; index++) {
    const added = weights === null ? 1 : at(weights, index);
    if (added === 0) continue;
    weight += added;
    if (count === 0 || at(values, count - 1) !== at(sorted, index)) values[count++] = at(sorted, index);
    cumulative[count - 1] = weight;
  }
  return { values: values.slice(0, count), cumulative: cumulative.slice(0, count), effectiveCount, counted };
}
