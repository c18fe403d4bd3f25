import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readLimits, type MetricAnswer } from '../../integrations/metric-provider.ts';
import { createPrometheusProvider, queryInstant } from '../../integrations/prometheus.ts';
import { judgeHealth, type ArmSums } from '../../policy/health.ts';
import { lineConfig } from '../policy/line-config.ts';
import { startReceiver, type Answer, type Receiver } from './http-receiver.ts';
import { findPrometheus, startPrometheus, type PrometheusServer } from './prometheus-server.ts';

const binary = findPrometheus();
if (binary === null) {
  process.stderr.write(
    'No Prometheus found: its tests are left out. Install it (apt-get install prometheus) or name it by FRESHET_PROMETHEUS.\n',
  );
}

const METRICS = `# TYPE freshet_latency_ms gauge
freshet_latency_ms{line="news-feed",version="7",arm="canary"} 120.5
freshet_latency_ms{line="news-feed",version="6",arm="stable"} 80
freshet_latency_ms{line="other",version="7",arm="canary"} 5
`;

const variant = { line: 'news-feed', version: 7, arm: 'canary' };
const latency = 'freshet_latency_ms{line="{line}",version="{version}",arm="{arm}"}';

describe.skipIf(binary === null)('against a real Prometheus', () => {
  let target: Receiver;
  let prometheus: PrometheusServer;

  const ask = (query: string): Promise<MetricAnswer> => queryInstant({ url: prometheus.url, query });

  beforeAll(async () => {
    target = await startReceiver(() => ({
      status: 200,
      body: METRICS,
      headers: { 'content-type': 'text/plain; version=0.0.4' },
    }));
    prometheus = await startPrometheus({ binary: binary as string, target: new URL(target.url).host });
    for (let attempt = 0; attempt < 300; attempt++) {
      if ((await ask('count(freshet_latency_ms) == 3')).kind === 'value') return;
      await sleep(100);
    }
    throw new Error('Prometheus did not scrape the test target');
  });

  afterAll(async () => {
    await prometheus.stop();
    await target.close();
  });

  it('reads the metric of a variant, with its time', async () => {
    const provider = createPrometheusProvider({
      url: `${prometheus.url}/`,
      queries: [{ name: 'latency', query: latency }],
    });
    const answer = await provider.read('latency', variant);
    expect(answer).toMatchObject({ kind: 'value', value: 120.5, count: null });
    const at = answer.kind === 'value' ? Date.parse(answer.at) : NaN;
    expect(Math.abs(Date.now() - at)).toBeLessThan(60_000);
    expect(await provider.read('latency', { ...variant, version: 6, arm: 'stable' })).toMatchObject({ value: 80 });
  });

  it('reads an expression and a scalar', async () => {
    expect(await ask('max(freshet_latency_ms) / 2')).toMatchObject({ kind: 'value', value: 60.25 });
    expect(await ask('scalar(sum(freshet_latency_ms))')).toMatchObject({ kind: 'value', value: 205.5 });
  });

  it.each([
    ['no series', 'freshet_nothing', 'empty', /has no series \(query: freshet_nothing\)/],
    ['several series', 'freshet_latency_ms', 'several', /has 3 series, expected one/],
    ['NaN', 'sum(freshet_latency_ms) * 0 / 0', 'notANumber', /answered NaN/],
    ['infinity', 'sum(freshet_latency_ms) / 0', 'notANumber', /answered \+Inf/],
    ['a range', 'freshet_latency_ms[1m]', 'notANumber', /answered a matrix/],
    ['a query that is none', 'sum(', 'refused', /answered 400 \(bad_data\): .*parse error/],
  ])('answers %s as an error', async (_, query, code, message) => {
    const answer = await ask(query);
    expect(answer).toMatchObject({ kind: 'error', code });
    expect(answer.kind === 'error' ? answer.message : '').toMatch(message);
  });

  it('feeds a health check: a limit that is kept, one that is broken, one that can not be read', async () => {
    const status = async (query: string, max: number): Promise<string> => {
      const limits = [{ name: 'latency', query, minCount: 30, max }];
      const provider = createPrometheusProvider({ url: prometheus.url, queries: limits });
      return judge(await readLimits({ provider, limits, variant }));
    };
    expect(await status(latency, 150)).toBe('pass');
    expect(await status(latency, 100)).toBe('fail');
    expect(await status('freshet_nothing', 100)).toBe('unknown');
  });
});

function judge(external: Awaited<ReturnType<typeof readLimits>>): string {
  const sums: ArmSums = {
    requests: 100,
    errors: 0,
    impressions: 500,
    clicks: 50,
    scoreSum: 50,
    logLossSum: 150,
    logLossSquareSum: 90,
    latencyMsSum: 200,
    dwells: 0,
    dwellSum: 0,
    dwellSquareSum: 0,
  };
  const reading = { canary: sums, stable: sums, qualityCanary: sums, qualityStable: sums, external };
  return judgeHealth({ reading, config: lineConfig().health }).status;
}

describe('a Prometheus that does not answer well', () => {
  let receiver: Receiver | null = null;
  afterEach(async () => {
    await receiver?.close();
    receiver = null;
  });

  it.each<[string, Answer, string, RegExp]>([
    [
      '503 in its own words',
      { status: 503, body: '{"status":"error","errorType":"unavailable","error":"starting"}' },
      'refused',
      /answered 503 \(unavailable\): starting/,
    ],
    ['502 of a proxy', { status: 502, body: '<html>Bad Gateway</html>' }, 'refused', /answered 502/],
    ['401', { status: 401, body: '' }, 'refused', /answered 401/],
    ['a page that is no API', { status: 200, body: '<html>Welcome</html>' }, 'unreadable', /is the URL right\?/],
    ['JSON of something else', { status: 200, body: '{"ok":true}' }, 'unreadable', /is the URL right\?/],
    [
      'a value that is text',
      { status: 200, body: '{"status":"success","data":{"resultType":"scalar","result":[1,"abc"]}}' },
      'notANumber',
      /answered abc/,
    ],
    ['nothing, ever', () => undefined, 'unreachable', /no answer within 150 ms/],
    [
      'half an answer, ever',
      (response) => void response.writeHead(200).write('{'),
      'unreachable',
      /no answer within 150 ms/,
    ],
  ])('%s', async (_, answer, code, message) => {
    receiver = await startReceiver(() => answer);
    const found = await queryInstant({
      url: receiver.url,
      query: 'up',
      ...(code === 'unreachable' ? { timeoutMs: 150 } : {}),
    });
    expect(found).toMatchObject({ kind: 'error', code });
    expect(found.kind === 'error' ? found.message : '').toMatch(message);
  });

  it('is unreachable when nothing listens, and its password is not shown', async () => {
    const closed = await startReceiver();
    await closed.close();
    const found = await queryInstant({ url: closed.url.replace('http://', 'http://me:password@'), query: 'up' });
    expect(found).toMatchObject({ kind: 'error', code: 'unreachable' });
    expect(JSON.stringify(found)).toMatch(/ECONNREFUSED/);
    expect(JSON.stringify(found)).not.toContain('password');
  });

  it('is unreachable when its address is no URL', async () => {
    expect(await queryInstant({ url: 'prometheus 9090', query: 'up' })).toMatchObject({
      kind: 'error',
      code: 'unreachable',
    });
  });

  it('fills every place of a template, and asks under the path prefix', async () => {
    receiver = await startReceiver(() => ({ status: 500 }));
    const queries = [{ name: 'm', query: '{line}-{version}-{arm}-{line}' }];
    await createPrometheusProvider({ url: `${receiver.url}/prefix/`, queries }).read('m', variant);
    expect(receiver.received[0]?.path).toBe('/prefix/api/v1/query?query=news-feed-7-canary-news-feed');
  });

  it('knows no metric that has no query', async () => {
    const provider = createPrometheusProvider({ url: 'http://127.0.0.1:9', queries: [] });
    expect(await provider.read('latency', variant)).toMatchObject({ kind: 'error', code: 'unknownMetric' });
  });

  it('makes every limit unknown when none is configured, instead of forgetting it', async () => {
    const readings = await readLimits({
      provider: null,
      limits: [{ name: 'latency', query: 'q', minCount: 30, max: 3 }],
      variant,
    });
    expect(readings).toEqual([
      expect.objectContaining({
        name: 'latency',
        max: 3,
        value: null,
        error: 'no Prometheus is configured: set PROMETHEUS_URL',
      }),
    ]);
    expect(judge(readings)).toBe('unknown');
  });
});
