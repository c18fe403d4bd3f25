import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';

const path = (file: string): string => fileURLToPath(new URL(`../${file}`, import.meta.url));

/** A trainer that shares no code with the reference trainer: boosted trees to ONNX. */
export function secondTrainer(): string[] {
  return [inject('secondTrainerPython'), path('second-trainer/gbdt_trainer.py')];
}

/** The second trainer with faults, quick and slow at the right places; see test/fixtures/broken-trainer.py. */
export function brokenTrainer(...faults: string[]): string[] {
  return [inject('secondTrainerPython'), path('fixtures/broken-trainer.py'), faults.join(',') || 'none'];
}
