import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { estimate, replicatesOf } from '../../data/evaluation/bootstrap-replicates.ts';
import { segmentsOf } from '../../data/evaluation/bootstrap-segment.ts';
import { compareScores, type ScoredRows } from '../../data/evaluation/bootstrap.ts';
import { seededRandom, type Random } from '../../data/evaluation/random.ts';
import { normalQuantile } from '../../policy/statistics.ts';
import { runToEnd } from '../../scripts/stack/processes.ts';
import { projectRoot } from '../../scripts/stack/project.ts';
import { ensureLockedPython } from '../../scripts/stack/python-env.ts';

export interface SpeedOptions {
  rows?: number;
  replicates?: number;
  /** Of scipy; its time is scaled to `replicates`. 0 leaves it out. */
  resamples?: number;
  /** Runs of ours; the median counts. */
  rounds?: number;
}

export interface SpeedFigures {
  rows: number;
  users: number;
  replicates: number;
  threads: number;
  /** Sorting, all eight metrics of both models, their gains and bounds: what an evaluation does without slices. */
  seconds: number;
  /** Of all threads, of the same run: what a loaded machine leaves alone. */
  cpuSeconds: number;
  /** Each run of ours; the first is that of a process that has just started. */
  rounds: number[];
  /** AUC, log loss and NDCG@10 of both models on the rows of resampled users, scaled from `scipyResamples`. */
  scipySeconds: number | null;
  scipyCpuSeconds: number | null;
  ratio: number | null;
  /** The same with rows sorted once and weighted by their users' draws in numpy. */
  scipyWeightedSeconds: number | null;
  weightedRatio: number | null;
  scipyResamples: number;
  /** Largest relative difference between an estimate of ours and numpy's. */
  estimateDifference: number | null;
  /** Processes that wanted a core when it began. */
  load: number;
  commands: string[];
}

const ROWS_A_SLATE = 10;
const K = 10;
const SEED = 6;

const theirs = z.object({
  resamples: z.number(),
  rowsSeconds: z.number(),
  rowsCpuSeconds: z.number(),
  weightsSeconds: z.number(),
  estimates: z.array(z.number()).length(6),
});

/** Time of the bootstrap of an evaluation beside scipy's of the same rows: see `SpeedFigures`. */
export async function measureSpeed(options: SpeedOptions = {}): Promise<SpeedFigures> {
  const { rows = 200_000, replicates = 1_000, resamples = 10, rounds: count = 3 } = options;
  const [load = NaN] = loadavg();
  const data = simulateSlates(Math.ceil(rows / ROWS_A_SLATE), seededRandom(SEED));
  const rounds: { seconds: number; cpuSeconds: number }[] = [];
  for (let round = 0; round < count; round++) {
    const startedAt = performance.now();
    const before = process.cpuUsage();
    await compareScores({ rows: data, slices: [], replicates, seed: SEED, k: K, sliceMinRows: 1 });
    const { user, system } = process.cpuUsage(before);
    rounds.push({ seconds: (performance.now() - startedAt) / 1_000, cpuSeconds: (user + system) / 1e6 });
  }
  const { seconds = NaN, cpuSeconds = NaN } =
    rounds.toSorted((a, b) => a.seconds - b.seconds)[Math.floor(count / 2)] ?? {};
  const commands: string[] = [];
  const scipy = resamples === 0 ? null : await measureScipy(data, { resamples, commands });
  const scaled = (given: number | undefined): number | null =>
    given === undefined ? null : (given * replicates) / resamples;
  const ratioOf = (others: number | null): number | null => (others === null ? null : others / seconds);
  const scipySeconds = scaled(scipy?.rowsSeconds);
  const scipyWeightedSeconds = scaled(scipy?.weightsSeconds);
  return {
    rows: data.labels.length,
    users: data.userCount,
    replicates,
    threads: Math.min(8, availableParallelism()),
    seconds,
    cpuSeconds,
    rounds: rounds.map((round) => round.seconds),
    scipySeconds,
    scipyCpuSeconds: scaled(scipy?.rowsCpuSeconds),
    ratio: ratioOf(scipySeconds),
    scipyWeightedSeconds,
    weightedRatio: ratioOf(scipyWeightedSeconds),
    scipyResamples: resamples,
    estimateDifference: scipy === null ? null : largestDifference(estimatesOf(data), scipy.estimates),
    load,
    commands,
  };
}

async function measureScipy(
  data: ScoredRows,
  { resamples, commands }: { resamples: number; commands: string[] },
): Promise<z.infer<typeof theirs>> {
  const { path } = await ensureLockedPython({
    lock: join(projectRoot(), 'bench', 'gate', 'requirements.lock'),
    name: 'scipy',
    what: 'scipy: installing it into an environment of its own (about 150 MB on disk, once)',
    say: (line) => {
      console.error(line);
    },
  });
  const folder = await mkdtemp(join(tmpdir(), 'freshet-bench-'));
  try {
    const [scores0, scores1] = data.scores as [Float32Array, Float32Array];
    for (const [name, values] of Object.entries({ ...data, scores0, scores1 })) {
      if (ArrayBuffer.isView(values)) await writeFile(join(folder, name), values);
    }
    const program = join('bench', 'gate', 'bootstrap.py');
    commands.push(`python ${program} FOLDER ${String(resamples)} ${String(SEED)}`);
    const args = [join(projectRoot(), program), folder, String(resamples), String(SEED)];
    const { code, stdout, stderr } = await runToEnd(path, args);
    if (code !== 0) throw new Error(`${program} failed:\n${stderr.trim().split('\n').slice(-12).join('\n')}`);
    return theirs.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** AUC, log loss and NDCG of the first model, then of the second, with all their digits. */
function estimatesOf(data: ScoredRows): number[] {
  const found = estimate(segmentsOf(data, K).prepare(), data.userCount);
  return [0, 1].flatMap((model) =>
    (['auc', 'logLoss', 'ndcg'] as const).map(
      (metric) => replicatesOf(found, { model, metric, replicates: 1 })[0] ?? NaN,
    ),
  );
}

function largestDifference(ours: readonly number[], others: readonly number[]): number {
  return Math.max(...ours.map((value, index) => Math.abs(value / (others[index] ?? NaN) - 1)));
}

/** Slates of users who have 1.3 each for every one that has none, and two models that know of the same latent and err alike. */
function simulateSlates(slates: number, random: Random): ScoredRows {
  const rows = slates * ROWS_A_SLATE;
  const labels = new Uint8Array(rows);
  const users = new Uint32Array(rows);
  const groups = Uint32Array.from(labels, (_, row) => Math.floor(row / ROWS_A_SLATE));
  const scores = [new Float32Array(rows), new Float32Array(rows)] as const;
  const normal = (): number => normalQuantile((random() * 2 ** 32 + 0.5) / 2 ** 32);
  const known = new Map<number, number>();
  for (let row = 0; row < rows; row++) {
    if (row % ROWS_A_SLATE === 0) {
      const drawn = Math.floor(random() * 0.75 * slates);
      const user = known.get(drawn) ?? known.size;
      known.set(drawn, user);
      users.fill(user, row, row + ROWS_A_SLATE);
    }
    const latent = normal() - 2;
    const shared = 0.5 * normal();
    labels[row] = random() < sigmoid(latent) ? 1 : 0;
    for (const model of scores) model[row] = sigmoid(latent + shared + 0.3 * normal());
  }
  return { labels, users, userCount: known.size, groups, groupCount: slates, scores };
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
