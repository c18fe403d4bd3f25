import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { trainerManifest } from '../../activities/trainer-manifest.ts';
import type { LineConfig } from '../../config/schema.ts';
import { projectRoot } from '../../scripts/stack/project.ts';
import { ensurePythonEnv } from '../../scripts/stack/python-env.ts';
import { reportSchema, type Report } from './report.ts';

/** The floor of KuaiRand: what the log itself says, as its first models did. */
const KUAIRAND_FLOOR = ['user', 'video_id', 'author_id', 'tag', 'tab', 'duration_ms', 'freshness_days'];

export interface EvaluateInput {
  config: LineConfig;
  /** Parquet as `writeLabelledRows` makes it. */
  rows: string;
  seeds: number;
  bootstrapMs: number;
  replicates: number;
  quick: boolean;
  folder: string;
  say: (line: string) => void;
}

/**
 * Scores each block of the log by every strategy before it is trained on, in the trainer's Python.
 *
 * @throws Error with the end of what Python printed.
 */
export async function evaluate(input: EvaluateInput): Promise<Report> {
  const { config, folder, say } = input;
  const { path: python } = await ensurePythonEnv({ say });
  const [manifest, spec, output] = ['manifest.json', 'spec.json', 'report.json'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  // The settings of a training are those that a cycle of the line would have; of its files nothing is read.
  const trial = trainerManifest({
    cycle: { line: config.line, cycleId: 'freshness', config },
    plan: { strategy: 'full', repair: null, parent: null },
    snapshot: { splitMs: 0 },
    files: { train: [input.rows], replay: [], holdout: [] },
    devices: 0,
    folder,
  });
  await writeFile(manifest, JSON.stringify(trial));
  await writeFile(
    spec,
    JSON.stringify({
      rows: input.rows,
      manifest,
      output,
      floors: floorsOf(config),
      bootstrapMs: input.bootstrapMs,
      seeds: Array.from({ length: input.seeds }, (_, index) => index + 1),
      replicates: input.replicates,
      replayShare: config.snapshot.replayShare,
      seasonMs: config.snapshot.season,
      windowMs: config.snapshot.maxWindow,
      reanchorMs: config.training.reanchorEvery,
      timeZoneOffsetMs: config.log?.timeZoneOffset ?? 0,
      quick: input.quick,
      processes: Math.min(2, availableParallelism()),
    }),
  );
  const { code, lastLines } = await runPython(python, spec, say);
  if (code !== 0) throw new Error(`the evaluation failed:\n${lastLines.slice(-12).join('\n')}`);
  return reportSchema.parse(JSON.parse(await readFile(output, 'utf8')));
}

/** The features of each floor by its name: `floor` is what the goal speaks of. */
function floorsOf({ line, features }: LineConfig): Record<string, string[]> {
  const names = features.map(({ name }) => name);
  if (line !== 'kuairand' || KUAIRAND_FLOOR.some((name) => !names.includes(name))) return { floor: names };
  return { floor: KUAIRAND_FLOOR, 'floor, all features': names };
}

async function runPython(
  python: string,
  spec: string,
  say: (line: string) => void,
): Promise<{ code: number | null; lastLines: string[] }> {
  const root = projectRoot();
  const paths = [join(root, 'bench', 'freshness'), join(root, 'trainer')].join(delimiter);
  // One thread: chains run side by side, and seconds are those of one thread.
  const threads = { OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1', OPENBLAS_NUM_THREADS: '1' };
  const child = spawn(python, ['-m', 'prequential', spec], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...threads, PYTHONPATH: paths },
  });
  const lastLines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (line.startsWith('seed ')) say(line);
    else lastLines.push(line);
  });
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new Error(`${python} could not be started: ${error.message}`));
    });
    child.once('close', (code) => {
      resolve({ code, lastLines });
    });
  });
}
