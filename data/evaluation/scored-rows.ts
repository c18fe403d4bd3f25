/** Group of a row that belongs to no request. */
export const NO_GROUP = 0xffff_ffff;

/** Labelled rows, whose they are, and what each model said of them. All arrays have one entry a row. */
export interface ScoredRows {
  labels: Uint8Array;
  /** Index of the row's user, 0 to userCount - 1. */
  users: Uint32Array;
  userCount: number;
  /** Index of the row's request, 0 to groupCount - 1, or `NO_GROUP`. A group counts with the user of its first row. */
  groups: Uint32Array;
  groupCount: number;
  /** Probabilities, one array a model: the challenger's, then the champion's if there is one. */
  scores: readonly Float32Array[];
}

/** The rows of one value of a slice, by index, each once. */
export interface SliceRows {
  slice: string;
  value: string;
  rows: Uint32Array;
}

const MAX_USERS = 2 ** 30;

/** @throws RangeError naming the first thing that is wrong. */
export function checkScoredRows({ labels, users, userCount, groups, groupCount, scores }: ScoredRows): void {
  if (scores.length === 0) throw new RangeError('there are no scores, expected those of one model at least');
  const columns: [string, ArrayLike<number>][] = [
    ['users', users],
    ['groups', groups],
    ...scores.map((model, index): [string, Float32Array] => [`the scores of model ${String(index)}`, model]),
  ];
  for (const [name, column] of columns) {
    if (column.length !== labels.length)
      throw new RangeError(
        `${name} has ${String(column.length)} entries, expected ${String(labels.length)} as labels has`,
      );
  }
  if (userCount > MAX_USERS)
    throw new RangeError(`the holdout has ${String(userCount)} users, at most ${String(MAX_USERS)} can be resampled`);
  for (let row = 0; row < labels.length; row++) {
    if ((labels[row] as number) > 1) refuse(row, 'label', labels[row], '0 or 1');
    if ((users[row] as number) >= userCount) refuse(row, 'user', users[row], `less than ${String(userCount)}`);
    const group = groups[row] as number;
    if (group >= groupCount && group !== NO_GROUP) refuse(row, 'group', group, `less than ${String(groupCount)}`);
    for (const model of scores) {
      const score = model[row] as number;
      if (!(score >= 0 && score <= 1)) refuse(row, 'score', score, 'a probability');
    }
  }
}

/** @throws RangeError */
export function checkSlices(slices: readonly SliceRows[], rowCount: number): void {
  const seen = new Uint32Array(rowCount);
  for (const [index, { slice, value, rows }] of slices.entries()) {
    for (const row of rows) {
      const name = `slice ${slice}=${value}`;
      if (row >= rowCount) throw new RangeError(`${name} has row ${String(row)} of ${String(rowCount)}`);
      if (seen[row] === index + 1) throw new RangeError(`${name} has row ${String(row)} twice`);
      seen[row] = index + 1;
    }
  }
}

function refuse(row: number, what: string, value: number | undefined, expected: string): never {
  throw new RangeError(`row ${String(row)} has the ${what} ${String(value)}, expected ${expected}`);
}
