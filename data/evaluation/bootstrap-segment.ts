import { EVALUATION_METRICS, type CalibrationBin, type Population } from '../../policy/evaluation.ts';
import { logLossOf } from '../../policy/statistics.ts';
import { addRankings, discountSums, type RankedGroup } from './bootstrap-rankings.ts';
import { runsOf, shared, type Runs } from './bootstrap-runs.ts';
import { NO_GROUP, type ScoredRows } from './scored-rows.ts';

/** What of a model's scores of a segment's rows the passes of the bootstrap need. In shared memory, for its threads. */
export interface SegmentModel {
  runs: Runs;
  /** Of `calibrationBins`. */
  curve: CalibrationBin[];
  /** `MODEL_SUMS` numbers for each of the segment's users: log loss, probabilities, NDCG, reciprocal ranks, hits. */
  sums: Float64Array;
}

/** Some of the rows: all of them, or those of one value of a slice. */
export interface Segment {
  population: Population;
  /** Users with rows in it. */
  users: Uint32Array;
  /** `USER_COUNTS` numbers for each of them: rows, positives, groups with a positive. */
  counts: Float64Array;
  models: SegmentModel[];
}

export const USER_COUNTS = 3;
export const MODEL_SUMS = 5;

/** At most, with its replicates: a user has a row at least. */
export function bytesOf(rows: number, models: number, replicates: number): number {
  const perRow = 4 + 8 * USER_COUNTS + models * (16 + 8 * MODEL_SUMS);
  return rows * perRow + 8 * EVALUATION_METRICS.length * models * replicates;
}

export interface Segments {
  /** @param members rows by index; all when left out. */
  population: (members?: Uint32Array) => Population;
  prepare: (members?: Uint32Array) => Segment;
}

/**
 * Sorts the scores of each model once, to prepare any segments of the rows from.
 *
 * @param k cut-off of NDCG and hits.
 */
export function segmentsOf(rows: ScoredRows, k: number): Segments {
  const orders = rows.scores.map(ascending);
  const all = Uint32Array.from(rows.labels.keys());
  const marks = new Uint8Array(rows.labels.length);
  const takeAll = (order: Uint32Array): Uint32Array => order;
  return {
    population: (members = all) => describe(rows, members).population,
    prepare: (members) => {
      if (members === undefined) return prepare(rows, { members: all, orders, select: takeAll, k });
      for (const row of members) marks[row] = 1;
      const select = (order: Uint32Array): Uint32Array => order.filter((row) => marks[row] === 1);
      const segment = prepare(rows, { members, orders, select, k });
      marks.fill(0);
      return segment;
    },
  };
}

/** Row indices by ascending probability. Floats that are not negative are ordered as their bits are. */
function ascending(scores: Float32Array): Uint32Array {
  const keys = new BigUint64Array(scores.length);
  const words = new Uint32Array(keys.buffer);
  // Adding 0 makes -0 a 0. The row is the lower half of a key on the machines that Node runs on.
  const bits = new Uint32Array(scores.map((score) => score + 0).buffer);
  for (let row = 0; row < scores.length; row++) {
    words[2 * row] = row;
    words[2 * row + 1] = bits[row] as number;
  }
  keys.sort();
  return words.filter((_, word) => (word & 1) === 0);
}

interface Selection {
  members: Uint32Array;
  orders: readonly Uint32Array[];
  select: (order: Uint32Array) => Uint32Array;
  k: number;
}

function prepare(rows: ScoredRows, { members, orders, select, k }: Selection): Segment {
  const about = describe(rows, members);
  const rankings = { rows, ranked: about.ranked, discounts: discountSums(k) };
  const models = rows.scores.map((scores, model) => {
    const order = select(orders[model] as Uint32Array);
    const sums = new Float64Array(new SharedArrayBuffer(8 * MODEL_SUMS * about.users.length));
    for (const row of members) {
      const base = MODEL_SUMS * (about.place[rows.users[row] as number] as number);
      const score = scores[row] as number;
      add(sums, base, logLossOf(rows.labels[row] as number, score));
      add(sums, base + 1, score);
    }
    addRankings(sums, { ...rankings, scores, order, width: MODEL_SUMS, column: 2 });
    return { ...runsOf(rows, scores, order), sums };
  });
  return { population: about.population, users: about.users, counts: about.counts, models };
}

interface Description {
  population: Population;
  users: Uint32Array;
  counts: Float64Array;
  /** By user: its index in `users`. */
  place: Uint32Array;
  ranked: RankedGroup[];
}

const UNSEEN = 0xffff_ffff;

function describe({ labels, users, userCount, groups }: ScoredRows, members: Uint32Array): Description {
  const place = new Uint32Array(userCount).fill(UNSEEN);
  const found: number[] = [];
  const counts: number[] = [];
  const byGroup = new Map<number, RankedGroup>();
  for (const row of members) {
    const user = users[row] as number;
    const label = labels[row] as number;
    if (place[user] === UNSEEN) {
      place[user] = found.push(user) - 1;
      counts.push(0, 0, 0);
    }
    const index = place[user] as number;
    add(counts, USER_COUNTS * index, 1);
    add(counts, USER_COUNTS * index + 1, label);
    const group = groups[row] as number;
    if (group !== NO_GROUP) addToGroup(byGroup, { group, user: index, label });
  }
  const ranked = [...byGroup.values()].filter(({ positives }) => positives > 0);
  for (const { user } of ranked) add(counts, USER_COUNTS * user + 2, 1);
  const population = {
    rows: members.length,
    positives: members.reduce((sum, row) => sum + (labels[row] as number), 0),
    users: found.length,
    groups: byGroup.size,
    groupsWithoutPositive: byGroup.size - ranked.length,
  };
  return {
    population,
    users: shared(Uint32Array.from(found)),
    counts: shared(Float64Array.from(counts)),
    place,
    ranked,
  };
}

/** A group counts with the user of its first row. */
function addToGroup(
  groups: Map<number, RankedGroup>,
  { group, user, label }: Record<'group' | 'user' | 'label', number>,
): void {
  const known = groups.get(group);
  if (known === undefined) groups.set(group, { group, user, rows: 1, positives: label });
  else {
    known.rows++;
    known.positives += label;
  }
}

function add(values: number[] | Float64Array, index: number, value: number): void {
  values[index] = (values[index] as number) + value;
}
