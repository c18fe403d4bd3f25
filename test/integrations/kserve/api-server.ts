import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inferenceServiceSchema, servicePath, type InferenceService } from './inference-service.ts';

interface Revision {
  name: string;
  storageUri: string;
  ready: boolean;
}

export interface KServe {
  url: string;
  /** What KServe's controller and Knative do, when they come to it. A new model is ready unless told otherwise. */
  reconcile(of?: { ready: boolean }): void;
  /** Percents of the traffic, by model. */
  traffic(): Record<string, number>;
  /** Lets somebody else write before the next PATCH arrives. */
  interfere(): void;
  patches(): number;
  close(): Promise<void>;
}

/** A Kubernetes API server with one InferenceService: GET and merge PATCH with optimistic concurrency. */
export async function startKServe(of: {
  namespace: string;
  name: string;
  storageUri: string;
  version: number;
}): Promise<KServe> {
  const path = servicePath(of.namespace, of.name);
  const revisions: Revision[] = [];
  let interferes = false;
  let patched = 0;
  let service: InferenceService = inferenceServiceSchema.parse({
    metadata: {
      ...{ name: of.name, resourceVersion: '1' },
      annotations: { 'freshet/latest-version': String(of.version), 'freshet/rolled-out-version': String(of.version) },
    },
    spec: { predictor: { model: { storageUri: of.storageUri } } },
  });
  const touch = (): void => {
    service.metadata.resourceVersion = String(Number(service.metadata.resourceVersion) + 1);
  };

  const answer = async (request: IncomingMessage): Promise<[status: number, body: unknown]> => {
    if (request.url !== path) return [404, { reason: 'NotFound' }];
    if (request.method === 'GET') return [200, service];
    if (request.method !== 'PATCH' || request.headers['content-type'] !== 'application/merge-patch+json')
      return [415, { reason: 'UnsupportedMediaType' }];
    if (interferes) touch();
    interferes = false;
    const patch = await bodyOf(request);
    const given = (patch['metadata'] as { resourceVersion?: string } | undefined)?.resourceVersion;
    if (given !== undefined && given !== service.metadata.resourceVersion) return [409, { reason: 'Conflict' }];
    service = inferenceServiceSchema.parse(merged(service, patch));
    touch();
    patched += 1;
    return [200, service];
  };
  const server = createServer((request, response) => {
    void answer(request).then(([status, body]) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const reconcile = ({ ready }: { ready: boolean } = { ready: true }): void => {
    const { model, canaryTrafficPercent } = service.spec.predictor;
    const { predictor } = service.status.components;
    if (revisions.at(-1)?.storageUri !== model.storageUri) {
      const name = `${of.name}-predictor-${String(revisions.length + 1).padStart(5, '0')}`;
      revisions.push({ name, storageUri: model.storageUri, ready });
    }
    const latest = revisions.findLast((revision) => revision.ready)?.name ?? '';
    predictor.latestCreatedRevision = revisions.at(-1)?.name;
    predictor.latestReadyRevision = latest;
    const rolledOut = predictor.latestRolledoutRevision;
    const percent = rolledOut === undefined ? 100 : (canaryTrafficPercent ?? 100);
    predictor.traffic = [
      { revisionName: latest, percent, latestRevision: true },
      ...(percent === 100
        ? []
        : [{ revisionName: rolledOut ?? '', percent: 100 - percent, latestRevision: false, tag: 'prev' }]),
    ];
    if (percent === 100) predictor.latestRolledoutRevision = latest;
    const isReady = revisions.at(-1)?.ready === true;
    service.status.conditions = [
      { type: 'Ready', status: isReady ? 'True' : 'False', ...(!isReady && { reason: 'RevisionFailed' }) },
    ];
    touch();
  };
  reconcile();

  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    reconcile,
    traffic() {
      const shares = new Map<string, number>();
      for (const { revisionName, percent } of service.status.components.predictor.traffic) {
        const uri = revisions.find(({ name }) => name === revisionName)?.storageUri ?? revisionName;
        if (percent > 0) shares.set(uri, (shares.get(uri) ?? 0) + percent);
      }
      return Object.fromEntries(shares);
    },
    interfere() {
      interferes = true;
    },
    patches: () => patched,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return JSON.parse(text) as Record<string, unknown>;
}

/** RFC 7396: null removes a field, an object is merged, anything else replaces. */
function merged(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) Reflect.deleteProperty(result, key);
    else result[key] = merged(result[key], value);
  }
  return result;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
