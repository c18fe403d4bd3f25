/** Indexed read inside bounds that the caller keeps. */
export function at(values: ArrayLike<number>, index: number): number {
  return values[index] as number;
}

export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < values.length; index++) total += at(values, index);
  return total;
}

/** Refuses counts or weights that are negative, not finite, absent, or all zero. `what` names them in the error. */
export function requireWeights(weights: ArrayLike<number>, what: string): void {
  for (let index = 0; index < weights.length; index++) {
    const weight = at(weights, index);
    if (!(weight >= 0 && weight < Infinity)) {
      throw new RangeError(`${what} must be finite and not negative; number ${index + 1} is ${weight}`);
    }
  }
  if (!(sum(weights) > 0))
    throw new RangeError(`${what} are all zero or none at all: at least one observation is needed`);
}

/** Refuses values that are NaN or infinite, and an empty sample. */
export function requireFinite(values: ArrayLike<number>, what: string): void {
  if (values.length === 0) throw new RangeError(`${what} is empty: at least one value is needed`);
  for (let index = 0; index < values.length; index++) {
    if (!Number.isFinite(at(values, index))) {
      throw new RangeError(
        `${what} must hold finite numbers; number ${index + 1} is ${at(values, index)}: count missing values apart`,
      );
    }
  }
}

export function requireSameLength(a: ArrayLike<number>, b: ArrayLike<number>, what: string): void {
  if (a.length !== b.length) throw new RangeError(`${what} must be of one length, not ${a.length} and ${b.length}`);
}

/** Refuses what is not strictly between 0 and 1. */
export function requireLevel(level: number, what: string): void {
  if (!(level > 0 && level < 1)) throw new RangeError(`${what} must be between 0 and 1 (both excluded), not ${level}`);
}
