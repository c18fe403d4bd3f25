import { lowerPriority } from '../../scoring/thread-priority.ts';
import type { ProcessAnswer, ProcessBatch } from './scorers.ts';
import { FEATURES } from '../gateway/ranking-model.ts';

/** Entry of the process of one version, loaded behind those that answer as a thread's is. Argument: the ONNX file. */

function answer(message: ProcessAnswer): void {
  process.send?.(message);
}

const raisePriority = lowerPriority();
const { openModel } = await import('../../scoring/model-session.ts');
const model = await openModel(process.argv[2] ?? '', FEATURES);
raisePriority();

let last = Promise.resolve();
async function score({ batch, counts, rows }: ProcessBatch): Promise<void> {
  const startedMs = performance.now();
  const scores = new Float32Array(rows.count);
  let at = 0;
  for (const result of await model.scoreEach(rows, counts)) {
    if (!(result instanceof Float32Array)) throw result;
    scores.set(result, at);
    at += result.length;
  }
  answer({ kind: 'scored', batch, scores, runMs: performance.now() - startedMs });
}

process.on('message', (request: ProcessBatch) => {
  last = last.then(() => score(request));
});
process.on('disconnect', () => process.exit(0));
answer({ kind: 'ready' });
