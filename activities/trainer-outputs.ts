import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Strategy } from '../policy/training-strategy.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import { contractBroken, onDisk } from './trainer-errors.ts';
import { TRAINER_CONTRACT_VERSION } from './trainer-manifest.ts';

/** What a trainer leaves in its output folder. */
const OUTPUTS = ['model.onnx', 'checkpoint.pt', 'predictions.parquet', 'result.json'] as const;

export const trainerResult = z.looseObject({
  contractVersion: z.literal(TRAINER_CONTRACT_VERSION),
  metrics: z.record(z.string(), z.number().nullable()).default({}),
  environment: z.record(z.string(), z.string()).default({}),
  strategy: z.enum(['full', 'warmStart', 'incremental', 'online']),
  examples: z.number().nonnegative(),
});

export interface TrainerOutputs {
  modelSha256: string;
  checkpointSha256: string;
  /** Parquet of what the trainer's own framework says of up to 10,000 rows it trained on. */
  predictionsSha256: string;
  /** `result.json`, with all that the trainer says in it. */
  resultSha256: string;
  /** What the trainer says it did. */
  strategy: Strategy;
  /** Rows trained on, each as often as it was. */
  examples: number;
  metrics: Record<string, number | null>;
  environment: Record<string, string>;
}

/**
 * Stores what a trainer that exited with 0 left.
 *
 * @throws ApplicationFailure `TrainerContractBroken` when something is missing or wrong, `TrainerDiskFull`.
 */
export async function collectOutputs(artifacts: ArtifactStore, outputDir: string): Promise<TrainerOutputs> {
  const path = (name: (typeof OUTPUTS)[number]): string => join(outputDir, name);
  for (const name of OUTPUTS) {
    await access(path(name)).catch(() => {
      throw contractBroken(
        `the trainer exited with 0 but left no ${name} in its output folder; the contract asks for ${OUTPUTS.join(', ')} (check it with: freshet trainer check)`,
      );
    });
  }
  const parsed = trainerResult.safeParse(await readJson(path('result.json')));
  if (!parsed.success) {
    throw contractBroken(`the trainer's result.json breaks the contract: ${z.prettifyError(parsed.error)}`);
  }
  const { metrics, environment, strategy, examples } = parsed.data;
  const keep = async (name: (typeof OUTPUTS)[number]): Promise<string> =>
    onDisk(`artifact ${name}`, async () => (await artifacts.putFile(path(name))).sha256);
  const [modelSha256, checkpointSha256, predictionsSha256, resultSha256] = await Promise.all([
    keep('model.onnx'),
    keep('checkpoint.pt'),
    keep('predictions.parquet'),
    keep('result.json'),
  ]);
  const stored = { modelSha256, checkpointSha256, predictionsSha256, resultSha256 };
  return { ...stored, strategy, examples, metrics, environment };
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as unknown;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw contractBroken(
      `the trainer's result.json breaks the contract: it can not be read as JSON (${why}); there is no NaN in JSON, and it is UTF-8`,
    );
  }
}
