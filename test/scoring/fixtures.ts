import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Feature } from '../../config/schema.ts';
import type { FeatureRows } from '../../features/featurizer.ts';

/** The models that `test/fixtures/make-models.py` writes. */
export type FixtureModel = 'rising' | 'falling' | 'nan' | 'throwing' | 'slow' | 'unbounded' | 'wrong-output';

export const CATEGORY: Feature = { kind: 'categorical', name: 'author', from: 'candidate', buckets: 5, dim: 1 };
export const NUMBER: Feature = { kind: 'numeric', name: 'quality', from: 'candidate', transform: 'none' };

/** The feature spec of each model. */
export const FEATURES_OF: Record<FixtureModel, Feature[]> = {
  rising: [CATEGORY, NUMBER],
  falling: [CATEGORY, NUMBER],
  nan: [NUMBER],
  throwing: [CATEGORY],
  slow: [NUMBER],
  unbounded: [NUMBER],
  'wrong-output': [NUMBER],
};

export function modelPath(name: FixtureModel): string {
  return fileURLToPath(new URL(`../fixtures/${name}.onnx`, import.meta.url));
}

export const modelBytes = (name: FixtureModel): Promise<Buffer> => readFile(modelPath(name));

/** One row a number, each with the id 0. */
export function rowsOf(...dense: number[]): FeatureRows {
  return { count: dense.length, ids: new BigInt64Array(dense.length), dense: Float32Array.from(dense) };
}
