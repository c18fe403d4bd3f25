import { readFile } from 'node:fs/promises';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { checkHealth } from '../../activities/check-health.ts';
import type { RolloutDependencies } from '../../activities/dependencies.ts';
import { lineConfigSchema, type HealthConfig } from '../../config/schema.ts';
import { readLimits } from '../../integrations/metric-provider.ts';
import { createPrometheusProvider, queryInstant } from '../../integrations/prometheus.ts';
import { initialBreaker } from '../../policy/breaker.ts';
import type { ExternalReading } from '../../policy/health.ts';
import { LINE, until, World, type Candidate, type Client, type Slate } from '../serving/world.ts';
import { findPrometheus, startPrometheus, type PrometheusServer } from './prometheus-server.ts';

const binary = findPrometheus();
if (binary === null) {
  process.stderr.write('No Prometheus found: the tests of the series that gateways export are left out.\n');
}

/** The queries that docs/health.md has ready, through the config schema. */
async function documentedLimits(): Promise<HealthConfig['prometheus']> {
  const text = await readFile(new URL('../../docs/health.md', import.meta.url), 'utf8');
  const block = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? '';
  const features = [{ kind: 'numeric', name: 'age' }];
  return lineConfigSchema.parse({ line: LINE, features, health: parse(block) as object }).health.prometheus;
}

describe.skipIf(binary === null)('a gateway that a real Prometheus scrapes', () => {
  let world: World;
  let gateway: Client;
  let prometheus: PrometheusServer;
  let limits: HealthConfig['prometheus'];
  let canary: Candidate;
  let stable: number;
  const startedAtMs = Date.now();

  const read = async (minCount?: number): Promise<Record<string, ExternalReading>> => {
    const asked = limits.map((limit) => (minCount === undefined ? limit : { ...limit, minCount }));
    const provider = createPrometheusProvider({ url: prometheus.url, queries: asked });
    const variant = { line: LINE, version: canary.version, arm: 'canary' };
    const readings = await readLimits({ provider, limits: asked, variant });
    return Object.fromEntries(readings.map((reading) => [reading.name, reading]));
  };
  const ask = async (query: string): Promise<number> => {
    const answer = await queryInstant({ url: prometheus.url, query });
    return answer.kind === 'value' ? answer.value : NaN;
  };
  /** The reasons of a health check that say something of Prometheus, by the metric. */
  const check = async (): Promise<Record<string, string>> => {
    const deps = { db: world.database.db, prometheusUrl: prometheus.url, logger: pino({ level: 'silent' }) };
    const { verdict } = await checkHealth(deps as unknown as RolloutDependencies, {
      ...{ cycleId: canary.cycleId, line: LINE, version: canary.version, stepEpoch: 1, stepStartedAtMs: startedAtMs },
      breaker: initialBreaker(),
    });
    const external = verdict.reasons
      .map(({ code }) => /^health\.external\.(\w+)\.(\w+)$/.exec(code))
      .filter((found) => found !== null);
    return Object.fromEntries(external.map(([, name = '', status = '']) => [name, status]));
  };

  beforeAll(async () => {
    limits = await documentedLimits();
    world = await World.create({ health: { prometheus: limits } });
    stable = await world.firstStable('rising');
    gateway = await world.gateway();
    canary = await world.candidate('falling');
    prometheus = await startPrometheus({ binary: binary as string, target: new URL(gateway.url).host });
    const route = await world.move(canary, { canary: canary.version, canaryShare: 0.4, holdback: 0.2 });
    await world.untilReported(route);
  });
  afterAll(async () => {
    await prometheus.stop();
    await world.close();
  });

  it('is insufficient by the documented queries while there is no traffic, since what is routed is scraped at 0', async () => {
    await until(async () => {
      expect(
        await ask(
          `count_over_time(freshet_variant_requests_total{version="${String(canary.version)}",arm="canary"}[1m])`,
        ),
      ).toBeGreaterThan(1);
    });
    expect(limits.map(({ name }) => name)).toHaveLength(5);
    expect(await check()).toEqual(Object.fromEntries(limits.map(({ name }) => [name, 'insufficient'])));
  });

  it('has the figures of both arms by the documented queries', async () => {
    const slates: Slate[] = [];
    for (let user = 0; user < 60; user++) slates.push(await gateway.rank(`user-${String(user)}`, [1, 2, 3, 4]));
    const of = (version: number): Slate[] => slates.filter((slate) => slate.version === version);
    const [tried, control] = [of(canary.version), of(stable)];
    expect(tried.length).toBeGreaterThan(10);
    // Of the canary's slates two items are read for 4 s and one is clicked, of stable's one for 10 s, and two are.
    await feedback(tried, { dwells: [4_000, 4_000], clicks: 1 });
    await feedback(control, { dwells: [10_000], clicks: 2 });
    await until(async () => {
      expect(await ask('sum(freshet_variant_clicks_total)')).toBe(tried.length + 2 * control.length);
      expect((await read(1))['click_ratio']?.value).toBeCloseTo(0.5, 2);
      expect((await read(1))['dwell_ratio']?.value).toBeCloseTo(0.8, 2);
    });
    const scores = tried.flatMap(({ items }) => items.map(({ score }) => score));
    const figures = await read(1);
    expect(figures['error_ratio']?.value).toBe(0);
    expect(figures['p99_seconds']?.value).toBeGreaterThan(0);
    expect(figures['promised_clicks_ratio']?.value).toBeCloseTo(
      scores.reduce((sum, score) => sum + score, 0) / tried.length,
      1,
    );
    expect(figures['click_ratio']?.count).toBeGreaterThan(tried.length);

    const variant = `{line="${LINE}",version="${String(canary.version)}",arm="canary"}`;
    expect(await ask(`freshet_variant_requests_total${variant}`)).toBe(tried.length);
    expect(await ask(`freshet_variant_impressions_total${variant}`)).toBe(4 * tried.length);
    expect(await ask(`freshet_variant_dwells_total${variant}`)).toBe(2 * tried.length);
    expect(await ask(`freshet_variant_seconds_count${variant}`)).toBe(tried.length);
    const positives = tried.flatMap(({ items }) => items.slice(0, 1).map(({ score }) => score));
    const loss = sumOf(scores, (p) => -Math.log(1 - p)) + sumOf(positives, (p) => Math.log((1 - p) / p));
    const counted = await ask(
      `freshet_variant_log_loss_total${variant} - freshet_variant_log_loss_retracted_total${variant}`,
    );
    expect(counted).toBeCloseTo(loss, 1);
    expect((await world.sums())[`${String(canary.version)} canary`]).toMatchObject({ dwells: 2 * tried.length });
  });

  it('breaks a limit, keeps another, and is unknown once Prometheus is gone', async () => {
    await world.database.db.query(`update cycles set config = jsonb_set(config, '{health,prometheus}', $1::jsonb)`, [
      JSON.stringify(limits.map((limit) => ({ ...limit, minCount: 1 }))),
    ]);
    // A canary that passes is not listed where another limit is broken.
    expect(await check()).toEqual({ click_ratio: 'fail' });
    await prometheus.stop();
    const gone = await check();
    expect(new Set(Object.values(gone))).toEqual(new Set(['unknown']));
    expect(Object.keys(gone)).toHaveLength(5);
  });

  async function feedback(
    slates: readonly Slate[],
    { dwells, clicks }: { dwells: number[]; clicks: number },
  ): Promise<void> {
    const events = slates.flatMap(({ items }) => [
      ...dwells.map((value, place) => ({ impressionId: items[place]?.impressionId, event: 'dwell', value })),
      ...items.slice(0, clicks).map(({ impressionId }) => ({ impressionId, event: 'click' })),
    ]);
    const { body } = await gateway.post('/v1/feedback', { events });
    expect(body).toMatchObject({ accepted: events.length, duplicates: 0 });
  }
});

function sumOf(values: readonly number[], of: (value: number) => number): number {
  return values.reduce((sum, value) => sum + of(value), 0);
}
