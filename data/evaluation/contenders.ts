import { readFile } from 'node:fs/promises';
import { openModel, type Model } from '../../scoring/model-session.ts';
import type { EvaluatedModel, EvaluationInput } from './evaluate.ts';

/** A model to evaluate, loaded. */
export interface Contender {
  /** For messages: `the champion (version 3)`. */
  name: string;
  features: EvaluatedModel['features'];
  model: Model;
  /** Of its ONNX file. */
  bytes: number;
}

/** The challenger and, if there is one, the champion. Close them. @throws Error that names the model that can not be loaded. */
export async function openContenders({
  challenger,
  champion,
}: Pick<EvaluationInput, 'challenger' | 'champion'>): Promise<Contender[]> {
  const contenders = [await open(challenger, 'the challenger')];
  try {
    if (champion !== null) contenders.push(await open(champion, `the champion (version ${String(champion.version)})`));
    return contenders;
  } catch (error) {
    await closeContenders(contenders);
    throw error;
  }
}

export async function closeContenders(contenders: readonly Contender[]): Promise<void> {
  for (const { model } of contenders) await model.close();
}

async function open({ model, features }: EvaluatedModel, name: string): Promise<Contender> {
  return named(name, async () => {
    const bytes = typeof model === 'string' ? await readFile(model) : model;
    return { name, features, model: await openModel(bytes, features), bytes: bytes.byteLength };
  });
}

/** Runs `work`; its error says which model it was about. */
export async function named<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new Error(`${name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
