import type { LatencyFigures } from '../../policy/evaluation.ts';
import { quantile } from '../../policy/statistics.ts';
import type { FeatureRows } from '../../features/featurizer.ts';
import { named, type Contender } from './contenders.ts';
import type { Holdout } from './holdout.ts';

/** Of real time, for all sizes and models together. */
const BUDGET_MS = 1_000;
/** Beyond this many requests the 99 % quantile moves by noise of the machine only. */
const MAX_ROUNDS = 1_000;
/** However slow the models are: fewer would say nothing. */
const MIN_ROUNDS = 5;
const WARM_UP_ROUNDS = 2;
/** Requests of different rows, so that caches are as cold as in service. */
const MIN_POOL = 2_048;

/**
 * Times the scoring of one request of each size, on real rows, by each contender, on the calling thread in the runtime that
 * serves: one thread within a model. Contenders take turns request by request, so that what slows the machine slows both.
 *
 * It takes about a second; longer only where {@link MIN_ROUNDS} requests of each size do.
 *
 * @param candidates sizes of the requests. @returns nothing without rows.
 */
export async function measureLatency({
  holdout,
  contenders,
  candidates,
  checkpoint,
}: {
  holdout: Holdout;
  contenders: readonly Contender[];
  candidates: readonly number[];
  checkpoint: () => void;
}): Promise<LatencyFigures[]> {
  if (holdout.rows === 0) return [];
  const sizes = [...new Set(candidates)].sort((a, b) => a - b);
  const pools = await readPools(holdout, contenders.length, Math.max(MIN_POOL, ...sizes));
  const figures: LatencyFigures[] = [];
  for (const size of sizes) {
    const times = await race({ contenders, pools, size, budgetMs: BUDGET_MS / sizes.length, checkpoint });
    const [challenger, champion] = times.map(quantiles);
    if (challenger === undefined) throw new Error('there is no model to time');
    figures.push({ candidates: size, challenger, champion: champion ?? null });
  }
  return figures;
}

/** Rows of the holdout as each contender takes them, the first ones repeated if there are too few. */
interface Pool {
  count: number;
  ids: BigInt64Array;
  dense: Float32Array;
}

async function readPools(holdout: Holdout, contenders: number, wanted: number): Promise<Pool[]> {
  const parts: FeatureRows[][] = Array.from({ length: contenders }, () => []);
  let rows = 0;
  for await (const batch of holdout.batches()) {
    for (const [index, part] of batch.features.entries()) parts[index]?.push(part);
    rows += batch.labels.length;
    if (rows >= wanted) break;
  }
  return parts.map((read) => {
    const repeated = Array.from({ length: Math.ceil(wanted / rows) }, () => read).flat();
    return {
      count: repeated.reduce((sum, { count }) => sum + count, 0),
      ids: joined(
        repeated.map(({ ids }) => ids),
        (length) => new BigInt64Array(length),
      ),
      dense: joined(
        repeated.map(({ dense }) => dense),
        (length) => new Float32Array(length),
      ),
    };
  });
}

function joined<T extends { length: number; set(part: T, offset: number): void }>(
  parts: readonly T[],
  make: (length: number) => T,
): T {
  const whole = make(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

interface Race {
  contenders: readonly Contender[];
  pools: readonly Pool[];
  size: number;
  budgetMs: number;
  checkpoint: () => void;
}

/** Milliseconds of each request, by contender. */
async function race({ contenders, pools, size, budgetMs, checkpoint }: Race): Promise<number[][]> {
  const times: number[][] = contenders.map(() => []);
  const order = [...contenders.entries()];
  let endsAt = Infinity;
  for (let round = -WARM_UP_ROUNDS; round < MAX_ROUNDS; round++) {
    checkpoint();
    if (round === 0) endsAt = performance.now() + budgetMs;
    if (round >= MIN_ROUNDS && performance.now() > endsAt) break;
    for (const [index, { name, model }] of order) {
      const rows = requestOf(pools[index] as Pool, round + WARM_UP_ROUNDS, size);
      const startedAt = performance.now();
      await named(name, () => model.score(rows));
      if (round >= 0) times[index]?.push(performance.now() - startedAt);
    }
    // Who comes second finds the caches as the other one left them.
    order.reverse();
  }
  return times;
}

/** The rows of one request: each round takes others. */
function requestOf(pool: Pool, round: number, size: number): FeatureRows {
  const from = (round * size) % (pool.count - size + 1);
  const cut = <T extends BigInt64Array | Float32Array>(values: T): T => {
    const width = values.length / pool.count;
    return values.slice(from * width, (from + size) * width) as T;
  };
  return { count: size, ids: cut(pool.ids), dense: cut(pool.dense) };
}

function quantiles(times: readonly number[]): LatencyFigures['challenger'] {
  const ascending = times.toSorted((a, b) => a - b);
  return { p50Ms: rounded(quantile(ascending, 0.5)), p99Ms: rounded(quantile(ascending, 0.99)) };
}

const rounded = (ms: number): number => Number(ms.toPrecision(4));
