import Fastify from 'fastify';
import { readFile } from 'node:fs/promises';
import { loadFeatureHash } from '../../features/feature-id.ts';
import { createFeaturizer, type RawFeatures } from '../../features/featurizer.ts';
import { openModel } from '../../scoring/model-session.ts';
import { FEATURES } from './ranking-model.ts';

/**
 * The least that ranks over HTTP in Node: Fastify and onnxruntime-node in one thread. No validation, routing, fallback, deadline,
 * token, counting or log. Model, featurizer and the shape of the answer are the gateway's.
 *
 * MODEL is the path of the ONNX file. Prints its address.
 */
const model = await openModel(await readFile(process.env['MODEL'] ?? ''), FEATURES);
const featurizer = createFeaturizer(FEATURES, await loadFeatureHash());
const app = Fastify({ bodyLimit: 4 * 1_048_576 });

const [number, string] = [{ type: 'number' }, { type: 'string' }];
const answer = {
  type: 'object',
  properties: {
    ...{ requestId: string, version: number, arm: string, epoch: number },
    items: { type: 'array', items: { type: 'object', properties: { id: string, score: number, position: number } } },
  },
};

app.post<{ Body: RawFeatures & { requestId: string; limit: number } }>(
  '/v1/rank',
  { schema: { response: { 200: answer } } },
  async ({ body }) => {
    const scores = await model.score(featurizer.featurize(body));
    const items = Array.from(scores, (_, index) => index)
      .sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0))
      .slice(0, body.limit)
      .map((index, position) => ({ id: body.candidates[index]?.id, score: scores[index], position }));
    return { requestId: body.requestId, version: 1, arm: 'stable', epoch: 1, items };
  },
);

const url = await app.listen({ host: '127.0.0.1', port: 0 });
process.stdout.write(`${JSON.stringify({ listening: url })}\n`);
process.once('SIGTERM', () => {
  app.server.closeAllConnections();
  void app.close().then(() => model.close());
});
