import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { trainerResult } from '../../activities/trainer-outputs.ts';
import { openDuckDb, sqlText } from '../../data/duckdb.ts';
import { ArtifactError, type ArtifactStore } from '../../store/artifacts.ts';
import type { VersionRecord } from '../../store/types.ts';
import { messageOf } from '../stack/say.ts';
import { hashOf } from '../trainer-check/interruption.ts';
import type { ReproductionInputs } from './inputs.ts';

/** One output, as recorded and as it came out now. */
export interface ComparedFile {
  name: 'model.onnx' | 'predictions.parquet' | 'checkpoint.pt';
  recorded: string | null;
  reproduced: string | null;
  same: boolean;
}

export interface Difference {
  what: string;
  recorded: string;
  now: string;
}

export interface Comparison {
  files: ComparedFile[];
  /** Of what the trainer measured but times and speeds. */
  metrics: Difference[];
  /** What may be the reason. */
  circumstances: Difference[];
  /** Largest absolute difference between the probabilities of the same rows; null when there is nothing to compare. */
  predictions: { rows: number; largest: number } | null;
}

/** They say how busy a machine was. */
const TIMES = /seconds|PerSecond/i;

/** Compares what a training left with what the version's lineage says. */
export async function compareOutputs(
  artifacts: ArtifactStore,
  of: { inputs: ReproductionInputs; outputDir: string; codeVersion: string },
): Promise<Comparison> {
  const { inputs, outputDir, codeVersion } = of;
  const { record, lineage, manifest } = inputs;
  const path = (name: string): string => join(outputDir, name);
  const compared = async (name: ComparedFile['name'], recorded: string | null | undefined): Promise<ComparedFile> => {
    const reproduced = await hashOf(path(name));
    return { name, recorded: recorded ?? null, reproduced, same: reproduced !== null && reproduced === recorded };
  };
  const [model, predictions, checkpoint] = await Promise.all([
    compared('model.onnx', record.modelSha256),
    compared('predictions.parquet', lineage.predictionsSha256),
    compared('checkpoint.pt', record.checkpointSha256),
  ]);
  const result = await readResult(path('result.json'));
  const environment = { ...lineage.environment, 'code version': lineage.codeVersion };
  return {
    files: [model, predictions, checkpoint],
    metrics: differences(
      { ...recordedMetrics(record), strategy: lineage.strategy },
      { ...result.metrics, strategy: result.strategy },
    ),
    circumstances: [
      ...differences(environment, { ...result.environment, 'code version': codeVersion }),
      ...differences(
        { 'seed (lineage, trainer manifest)': lineage.seed, 'threads (lineage, trainer manifest)': lineage.threads },
        { 'seed (lineage, trainer manifest)': manifest.seed, 'threads (lineage, trainer manifest)': manifest.threads },
      ),
    ],
    predictions:
      predictions.reproduced === null
        ? null
        : await comparePredictions(artifacts, lineage.predictionsSha256, path('predictions.parquet')),
  };
}

async function readResult(path: string): Promise<z.output<typeof trainerResult>> {
  try {
    return trainerResult.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    throw new Error(
      `the trainer exited with 0 but its result.json breaks the contract (freshet trainer check): ${why}`,
      {
        cause: error,
      },
    );
  }
}

function recordedMetrics({ metrics }: VersionRecord): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).safeParse(metrics['training']).data ?? {};
}

function differences(recorded: Record<string, unknown>, now: Record<string, unknown>): Difference[] {
  return [...new Set([...Object.keys(recorded), ...Object.keys(now)])]
    .filter((what) => !TIMES.test(what) && text(recorded[what]) !== text(now[what]))
    .map((what) => ({ what, recorded: text(recorded[what]), now: text(now[what]) }));
}

function text(value: unknown): string {
  if (value === undefined) return 'not known';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

async function comparePredictions(
  artifacts: ArtifactStore,
  sha256: string | undefined,
  reproduced: string,
): Promise<Comparison['predictions']> {
  if (sha256 === undefined) return null;
  let recorded: string;
  try {
    recorded = await artifacts.path(sha256);
  } catch (error) {
    if (error instanceof ArtifactError) return null;
    throw error;
  }
  const duck = await openDuckDb();
  try {
    const table = (path: string): string =>
      `(SELECT impression_id, probability, row_number() OVER (PARTITION BY impression_id) AS again FROM read_parquet(${sqlText(path)}))`;
    const { rows, largest } = await duck.row(
      `SELECT count(*) AS rows, max(abs(a.probability - b.probability)) AS largest
       FROM ${table(recorded)} a JOIN ${table(reproduced)} b USING (impression_id, again)`,
      z.object({ rows: z.coerce.number(), largest: z.number().nullable() }),
    );
    return largest === null ? null : { rows, largest };
  } finally {
    duck.close();
  }
}
