import { seededRandom, type Random } from '../../../data/evaluation/random.ts';
import type { ScoredRows } from '../../../data/evaluation/scored-rows.ts';

export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * Users with a taste of their own, 1 to 3 requests and 1 to 5 rows each; each model sees the truth through noise of its own
 * size.
 */
export function simulateRows({
  users: userCount,
  noise,
  seed,
}: {
  users: number;
  noise: readonly number[];
  seed: number;
}): ScoredRows {
  const random = seededRandom(seed);
  const rows: { user: number; group: number; label: number; scores: number[] }[] = [];
  let groupCount = 0;
  for (let user = 0; user < userCount; user++) {
    const taste = normal(random);
    const blind = noise.map((size) => size * normal(random));
    const requests = 1 + Math.floor(3 * random());
    for (let request = 0; request < requests; request++, groupCount++) {
      const size = 1 + Math.floor(5 * random());
      for (let row = 0; row < size; row++) {
        const logit = taste + normal(random);
        const scores = blind.map((bias, model) => sigmoid(logit + bias + (noise[model] ?? 0) * normal(random)));
        rows.push({ user, group: groupCount, label: random() < sigmoid(logit) ? 1 : 0, scores });
      }
    }
  }
  return {
    labels: Uint8Array.from(rows, ({ label }) => label),
    users: Uint32Array.from(rows, ({ user }) => user),
    userCount,
    groups: Uint32Array.from(rows, ({ group }) => group),
    groupCount,
    scores: noise.map((_, model) => Float32Array.from(rows, ({ scores }) => scores[model] ?? NaN)),
  };
}

/** With scores in steps, so that many are tied. */
export function coarsened(rows: ScoredRows, steps: number): ScoredRows {
  return {
    ...rows,
    scores: rows.scores.map((scores) => scores.map((score) => Math.round(steps * score) / steps)),
  };
}

/** Each row a user of its own. */
export function unclustered(rows: ScoredRows): ScoredRows {
  return { ...rows, users: Uint32Array.from(rows.labels.keys()), userCount: rows.labels.length };
}
