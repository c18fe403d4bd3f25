import { seededRandom } from '../../data/evaluation/random.ts';
import type { ScoredRows } from '../../data/evaluation/scored-rows.ts';
import { normalQuantile } from '../../policy/statistics.ts';
import { calibrated } from './binormal.ts';

/** A log and two models that score it. Shares are of a variance of 1. */
export interface Scene {
  users: number;
  /** Of a user on average. */
  slatesPerUser: number;
  rowsPerSlate: number;
  /** Standard deviation of the logarithm of a user's number of slates: 0, all alike; 1.5, a few users make most of the log. */
  activity: number;
  /** Positives among rows. */
  prevalence: number;
  /** Of the latent, which decides the label: what a user's rows share, and a slate's. */
  userShare: number;
  slateShare: number;
  /** Correlation of each model's score with the latent: see `latentAuc`. */
  challenger: number;
  champion: number;
  /** Of the noise in the scores: what both models share. At 1 they differ by their correlations only. */
  alike: number;
  /** Of each noise: what a user's rows share. A model is wrong about a user, not about rows. */
  userNoise: number;
}

/** Labelled rows with the scores of challenger and champion; the same for the same seed. */
export function simulateLog(scene: Scene, seed: number): ScoredRows {
  const normal = normalFrom(seed);
  const slates = slatesOf(scene, normal);
  const groupCount = slates.reduce((sum, count) => sum + count, 0);
  const rows = groupCount * scene.rowsPerSlate;
  const labels = new Uint8Array(rows);
  const users = new Uint32Array(rows);
  const groups = Uint32Array.from({ length: rows }, (_, row) => Math.floor(row / scene.rowsPerSlate));
  const scores = [new Float32Array(rows), new Float32Array(rows)] as const;
  const correlations = [scene.challenger, scene.champion] as const;
  const threshold = normalQuantile(1 - scene.prevalence);
  const latentOf = mixer([scene.userShare, scene.slateShare, 1 - scene.userShare - scene.slateShare]);
  const noiseOf = mixer([scene.userNoise, 1 - scene.userNoise]);
  const errorOf = mixer([scene.alike, 1 - scene.alike]);
  let row = 0;
  for (const [user, count] of slates.entries()) {
    const ofUser = normal();
    const userErrors = [normal(), normal(), normal()] as const;
    for (let slate = 0; slate < count; slate++) {
      const ofSlate = normal();
      for (let place = 0; place < scene.rowsPerSlate; place++, row++) {
        const latent = latentOf(ofUser, ofSlate, normal());
        labels[row] = latent > threshold ? 1 : 0;
        users[row] = user;
        const shared = noiseOf(userErrors[2], normal());
        for (const model of [0, 1] as const) {
          const r = correlations[model];
          const error = errorOf(shared, noiseOf(userErrors[model], normal()));
          scores[model][row] = calibrated(r * latent + Math.sqrt(1 - r * r) * error, r, threshold);
        }
      }
    }
  }
  return { labels, users, userCount: scene.users, groups, groupCount, scores };
}

/** Of each user, at least one. */
function slatesOf({ users, slatesPerUser, activity }: Scene, normal: () => number): number[] {
  return Array.from({ length: users }, () =>
    Math.max(1, Math.round(slatesPerUser * Math.exp(activity * normal() - activity ** 2 / 2))),
  );
}

/** The sum of independent standard normal parts, each with its share of the variance. */
function mixer(shares: readonly number[]): (...parts: readonly number[]) => number {
  const roots = shares.map(Math.sqrt);
  return (...parts) => {
    let sum = 0;
    for (let part = 0; part < parts.length; part++) sum += (roots[part] as number) * (parts[part] as number);
    return sum;
  };
}

/** Independent standard normal numbers by the polar method (Marsaglia & Bray 1964). */
function normalFrom(seed: number): () => number {
  const random = seededRandom(seed);
  let spare: number | null = null;
  return () => {
    if (spare !== null) {
      const drawn = spare;
      spare = null;
      return drawn;
    }
    for (;;) {
      const x = 2 * random() - 1;
      const y = 2 * random() - 1;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(square)) / square);
      spare = y * factor;
      return x * factor;
    }
  };
}
