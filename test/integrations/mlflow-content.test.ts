import { afterEach, describe, expect, it } from 'vitest';
import { mlflowContent, mlflowKey } from '../../integrations/mlflow-content.ts';
import { mlflowFromEnv } from '../../integrations/mlflow-settings.ts';
import { Mlflow } from '../../integrations/mlflow.ts';
import type { BehindVersion } from '../../store/mlflow-mirrors.ts';
import { interval, part, well } from '../policy/gate-cases.ts';
import { startReceiver, type Answer, type Receiver } from './http-receiver.ts';

const version: BehindVersion = {
  ...{ line: 'news-feed', version: 7, status: 'stable', parent: 6, cycleId: 'cycle-7', modelSha256: 'ab' },
  ...{ trainingCutoffMs: null, lineage: {}, metrics: {}, createdAt: new Date('2026-01-05T12:00:00Z') },
  origin: { workflowId: null, runId: null, trigger: null, outcome: null, phases: null },
  ...{ state: 's', attempts: 0, runId: null, modelVersion: null },
};

describe('the content of a copy', () => {
  it('is there for a version of which little is on record', () => {
    const { run } = mlflowContent(version);
    expect(run).toMatchObject({ name: 'news-feed 7', metrics: {}, params: { parent: '6' } });
    expect([run.startMs, run.endMs]).toEqual([Date.parse('2026-01-05T12:00:00Z'), Date.parse('2026-01-05T12:00:00Z')]);
    expect(run.tags).toMatchObject({ 'freshet.id': 'news-feed/7/cycle-7', 'freshet.status': 'stable' });
    expect(run.tags).not.toHaveProperty('freshet.outcome');
  });

  it('leaves out what an older build recorded in another shape, and keeps the rest', () => {
    const metrics = {
      training: { loss: 0.2 },
      evaluation: { rows: 100, challengerMetrics: { auc: { value: 0.7 } }, modelBytes: 10 },
      gate: 'pass',
    };
    expect(mlflowContent({ ...version, metrics }).run.metrics).toEqual({ 'training.loss': 0.2, modelBytes: 10 });
  });

  it('has no metric that is not a number', () => {
    const auc = { estimate: null, lower: NaN, upper: 0.9, standardError: 0.1 };
    const overall = { ...well.overall, challenger: { ...well.overall.challenger, auc } };
    const { metrics } = mlflowContent({ ...version, metrics: { evaluation: { ...well, overall } } }).run;
    expect(metrics).toMatchObject({ 'challenger.logLoss': expect.any(Number) as unknown, rows: 20_000 });
    expect(Object.values(metrics).every(Number.isFinite)).toBe(true);
    expect(Object.keys(metrics).filter((name) => name.startsWith('challenger.auc'))).not.toContain('challenger.auc');
  });

  it('has slices under names that MLflow takes', () => {
    const slices = [part('a/b', interval(0, 0.1)), part('a:b', interval(0, 0.1))];
    const { metrics } = mlflowContent({ ...version, metrics: { evaluation: { ...well, slices } } }).run;
    const named = Object.keys(metrics).filter((name) => name.startsWith('slice.surface.a_b.auc'));
    expect(named).toHaveLength(2);
  });

  it('cuts what is too long', () => {
    const gate = { kind: 'hold', reasons: [{ code: 'x', message: 'y'.repeat(9_000) }] };
    const { run } = mlflowContent({ ...version, metrics: { gate } });
    expect(run.tags['freshet.gateReasons']).toHaveLength(5_000);
  });
});

it.each([
  ['slice.surface.home.auc', /^slice\.surface\.home\.auc$/],
  ['größe 1-2_3', /^größe 1-2_3$/],
  ['a/b', /^a_b-[0-9a-f]{8}$/],
  ['a:b', /^a_b-[0-9a-f]{8}$/],
  ['x'.repeat(300), /^x{241}-[0-9a-f]{8}$/],
])('%s is a key of MLflow after it was made one', (name, key) => {
  expect(mlflowKey(name)).toMatch(key);
});

it('no two names become one key', () => {
  expect(new Set(['a/b', 'a:b', 'a_b', 'a*b'].map(mlflowKey)).size).toBe(4);
});

describe('the settings', () => {
  it.each([
    [{}, null],
    [{ MLFLOW_TRACKING_URI: ' ' }, null],
    [{ MLFLOW_TRACKING_URI: 'http://mlflow:5000/base/' }, 'http://mlflow:5000/base'],
    [{ MLFLOW_TRACKING_URI: 'https://user:secret@mlflow' }, 'https://mlflow'],
    [{ MLFLOW_TRACKING_URI: 'https://user:100%secret@mlflow', MLFLOW_TRACKING_TOKEN: ' t ' }, 'https://mlflow'],
  ])('%o name %s', (environment, url) => {
    expect(mlflowFromEnv(environment)?.mlflow.url ?? null).toBe(url);
  });

  it.each([
    [{ MLFLOW_TRACKING_URI: 'sqlite:///secret.db' }, /^MLFLOW_TRACKING_URI must be the http or https URL/],
    [{ MLFLOW_TRACKING_URI: 'databricks' }, /^MLFLOW_TRACKING_URI must be/],
    [
      { MLFLOW_TRACKING_URI: 'http://a', MLFLOW_TRACKING_TOKEN: 'a\nsecret' },
      /^MLFLOW_TRACKING_TOKEN: expected one word/,
    ],
    [{ FRESHET_MLFLOW_PREFIX: 'a/secret' }, /^FRESHET_MLFLOW_PREFIX: expected letters, digits/],
  ])('%o are refused without repeating them', (environment, message) => {
    expect(() => mlflowFromEnv(environment)).toThrow(message);
    expect(() => mlflowFromEnv(environment)).not.toThrow(/secret/);
  });

  it('tells targets apart by address and prefix', () => {
    const id = (MLFLOW_TRACKING_URI: string, FRESHET_MLFLOW_PREFIX?: string): unknown =>
      mlflowFromEnv({ MLFLOW_TRACKING_URI, FRESHET_MLFLOW_PREFIX })?.id;
    expect(new Set([id('http://a'), id('http://a/'), id('http://b'), id('http://a', 'x')]).size).toBe(3);
  });
});

describe('a request', () => {
  let receiver: Receiver;
  afterEach(() => receiver.close());

  async function failure(answer: Answer, authorization: string | null = null): Promise<unknown> {
    receiver = await startReceiver(() => answer);
    return new Mlflow({ url: receiver.url, authorization, timeoutMs: 500 })
      .findRunById('r')
      .catch((error: unknown) => error);
  }

  it.each<[Answer, object, RegExp]>([
    [
      { status: 401, body: '<html>' },
      { kind: 'credentials', retryable: true, status: 401 },
      /set MLFLOW_TRACKING_TOKEN/,
    ],
    [
      { status: 403, body: '{"error_code": "PERMISSION_DENIED", "message": "no"}' },
      { kind: 'credentials', code: 'PERMISSION_DENIED' },
      /does not permit this \(403 PERMISSION_DENIED: no\)/,
    ],
    [{ status: 302, headers: { location: 'http://127.0.0.1:9' } }, { kind: 'failing' }, /to where it redirects/],
    [{ status: 404, body: 'not found' }, { kind: 'failing', retryable: true }, /not as MLflow does/],
    [{ status: 200, body: '<html>' }, { kind: 'failing' }, /is MLFLOW_TRACKING_URI that of a tracking server/],
    [{ status: 429, body: '' }, { kind: 'failing', retryable: true }, /answered 429/],
    [
      { status: 400, body: '{"error_code": "INVALID_PARAMETER_VALUE", "message": "bad"}' },
      { kind: 'refused', retryable: false, code: 'INVALID_PARAMETER_VALUE' },
      /answered 400 INVALID_PARAMETER_VALUE: bad/,
    ],
    [(): void => undefined, { kind: 'unreachable', retryable: true, status: null }, /gave no answer within 500 ms/],
  ])('that is answered %o fails as %o', async (answer, fields, message) => {
    const error = await failure(answer, 'Bearer secret');
    expect(error).toMatchObject({ name: 'MlflowError', ...fields });
    expect((error as Error).message).toMatch(message);
    expect(`${String((error as Error).stack)} ${JSON.stringify(error)}`).not.toContain('secret');
  });

  it('for what does not exist finds nothing', async () => {
    expect(await failure({ status: 404, body: '{"error_code": "RESOURCE_DOES_NOT_EXIST"}' })).toBeNull();
  });

  it('stays within the limits of a batch', async () => {
    receiver = await startReceiver(() => ({ status: 200, body: '{}' }));
    const many = <T>(count: number, value: T): Record<string, T> =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${String(index)}`, value]));
    await new Mlflow({ url: receiver.url }).log('r', {
      metrics: many(2_000, 1),
      params: many(120, 'p'),
      tags: many(5, 't'),
    });
    const sent = receiver.received.map(({ body }) => body as Record<'metrics' | 'params' | 'tags', unknown[]>);
    expect(sent.map(({ metrics, params, tags }) => [metrics.length, params.length, tags.length])).toEqual([
      [900, 50, 5],
      [900, 50, 0],
      [200, 20, 0],
    ]);
  });
});
