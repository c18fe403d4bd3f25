import { NO_GROUP, type ScoredRows } from './bootstrap.ts';
import { named, type Contender } from './contenders.ts';
import type { Holdout } from './holdout.ts';

/**
 * Scores all rows with all contenders, batch by batch. The rows stay in file order.
 *
 * @param checkpoint called before each batch; what it throws ends the work.
 * @throws Error that names the contender that can not score.
 */
export async function scoreHoldout(
  holdout: Holdout,
  contenders: readonly Contender[],
  checkpoint: () => void,
): Promise<ScoredRows> {
  const labels = new Uint8Array(holdout.rows);
  const users = new Indices(holdout.rows);
  const requests = new Indices(holdout.rows);
  const scores = contenders.map(() => new Float32Array(holdout.rows));
  let offset = 0;
  for await (const batch of holdout.batches()) {
    checkpoint();
    labels.set(batch.labels, offset);
    for (const [row, user] of batch.users.entries()) users.set(offset + row, user ?? `row ${String(offset + row)}`);
    for (const [row, request] of batch.requests.entries()) requests.set(offset + row, request);
    for (const [index, { name, model }] of contenders.entries()) {
      const rows = batch.features[index];
      if (rows === undefined) throw new Error(`the holdout was opened without the features of ${name}`);
      scores[index]?.set(await named(name, () => model.score(rows)), offset);
    }
    offset += batch.labels.length;
  }
  return {
    labels,
    users: users.indices,
    userCount: users.count,
    groups: requests.indices,
    groupCount: requests.count,
    scores,
  };
}

/** Numbers keys in the order in which they come. */
class Indices {
  readonly indices: Uint32Array;
  readonly #numbers = new Map<string, number>();

  constructor(rows: number) {
    this.indices = new Uint32Array(rows).fill(NO_GROUP);
  }

  get count(): number {
    return this.#numbers.size;
  }

  set(row: number, key: string | null): void {
    if (key === null) return;
    const number = this.#numbers.get(key) ?? this.#numbers.size;
    this.#numbers.set(key, number);
    this.indices[row] = number;
  }
}

/** Largest |first - second| of a score over the rows; null without a second contender, or without rows. */
export function largestChange([first, second]: readonly Float32Array[]): number | null {
  if (first === undefined || second === undefined || first.length === 0) return null;
  return first.reduce((largest, score, row) => Math.max(largest, Math.abs(score - (second[row] as number))), 0);
}
