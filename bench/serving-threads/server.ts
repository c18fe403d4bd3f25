import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import Fastify from 'fastify';
import { loadFeatureHash } from '../../features/feature-id.ts';
import { createFeaturizer, type FeatureRows, type RawFeatures } from '../../features/featurizer.ts';
import { rankedOrder } from '../../serving/slate-order.ts';
import { FEATURES } from '../gateway/ranking-model.ts';
import { SCORERS } from './scorers.ts';

/**
 * A ranking server without routing, tokens or log: only where sessions live differs.
 *
 * WAY: `own`, `thread`, `process` (see `scorers.ts`), or `cluster`: as many processes as cores, each like `own`, behind one
 * port. MODELS: paths of ONNX files, separated by commas, of which the first is loaded. Prints its address.
 * `POST /swap` loads and warms the next, then switches and closes the last; in a cluster one process after the other.
 */
const way = process.env['WAY'] ?? '';
const paths = (process.env['MODELS'] ?? '').split(',');

async function serve(): Promise<void> {
  const open = SCORERS[way === 'cluster' ? 'own' : (way as keyof typeof SCORERS)];
  const featurizer = createFeaturizer(FEATURES, await loadFeatureHash());
  let index = 0;
  let version = { scorer: await open(paths[0] ?? ''), requests: 0 };

  async function swap(): Promise<void> {
    index += 1;
    const last = version;
    version = { scorer: await open(paths[index % paths.length] ?? ''), requests: 0 };
    while (last.requests > 0) await sleep(1);
    await last.scorer.close();
  }

  async function score(rows: FeatureRows): Promise<Float32Array> {
    const used = version;
    used.requests += 1;
    try {
      return await used.scorer.score(rows);
    } finally {
      used.requests -= 1;
    }
  }

  const app = Fastify({ bodyLimit: 4 * 1_048_576 });
  app.post<{ Body: RawFeatures & { requestId: string; limit: number } }>(
    '/v1/rank',
    { schema: { response: { 200: ANSWER } } },
    async ({ body }) => {
      const scores = await score(featurizer.featurize(body));
      const items = rankedOrder(scores, body.limit).map((candidate, position) => {
        return { id: body.candidates[candidate]?.id, score: scores[candidate], position };
      });
      return { requestId: body.requestId, version: index, items };
    },
  );
  app.post('/swap', async () => {
    await (cluster.isWorker ? askPrimary() : swap());
    return { version: index };
  });
  process.on('message', (message) => {
    if (message === 'swap') void swap().then(() => process.send?.('swapped'));
  });
  process.once('SIGTERM', () => {
    app.server.closeAllConnections();
    void app
      .close()
      .then(() => version.scorer.close())
      .then(() => process.exit(0));
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  if (cluster.isWorker) process.send?.({ url });
  else listening(url);
}

const [number, string] = [{ type: 'number' }, { type: 'string' }];
const ANSWER = {
  type: 'object',
  properties: {
    ...{ requestId: string, version: number },
    items: { type: 'array', items: { type: 'object', properties: { id: string, score: number, position: number } } },
  },
};

function listening(url: string): void {
  process.stdout.write(`${JSON.stringify({ listening: url })}\n`);
}

async function askPrimary(): Promise<void> {
  process.send?.('swapAll');
  for (;;) {
    const [message] = (await once(process, 'message')) as [unknown];
    if (message === 'swappedAll') return;
  }
}

async function lead(): Promise<void> {
  const workers: Worker[] = [];
  let url = '';
  for (let count = 0; count < availableParallelism(); count++) {
    const worker = cluster.fork();
    const [started] = (await Promise.race([once(worker, 'message'), ended(worker)])) as [{ url: string }];
    // All have the port that the first was given.
    url = started.url;
    workers.push(worker);
    worker.on('message', (message) => {
      if (message !== 'swapAll') return;
      void swapAll(workers).then(() => worker.send('swappedAll'));
    });
  }
  process.once('SIGTERM', () => {
    for (const worker of workers) worker.process.kill('SIGTERM');
    void Promise.all(workers.map((worker) => once(worker, 'exit'))).then(() => process.exit(0));
  });
  listening(url);
}

async function ended(worker: Worker): Promise<never> {
  await once(worker, 'exit');
  throw new Error('a process of the cluster has ended');
}

async function swapAll(workers: Worker[]): Promise<void> {
  for (const worker of workers) {
    const swapped = new Promise<void>((resolve) => {
      const hear = (message: unknown): void => {
        if (message !== 'swapped') return;
        worker.off('message', hear);
        resolve();
      };
      worker.on('message', hear);
    });
    worker.send('swap');
    await swapped;
  }
}

await (way === 'cluster' && cluster.isPrimary ? lead() : serve());
