import { Context } from '@temporalio/activity';
import type { LineConfig } from '../config/schema.ts';
import { assessCheck, type BreakerState } from '../policy/breaker.ts';
import { judgeHealth, type HealthVerdict } from '../policy/health.ts';
import { judgeEvidence, type EvidenceSettings, type HealthEvidence } from '../policy/sequential/health-evidence.ts';
import { effectiveBlocks, type HealthLook } from '../policy/sequential/health-metrics.ts';
import { EVIDENCE_SHARE, SEQUENTIAL } from '../policy/sequential/settings.ts';
import { readHealthLooks } from '../store/health-looks.ts';
import { databaseNow } from '../store/leases.ts';
import { allowOn, breakerConfig, readHealth, type CheckHealthInput, type CheckHealthResult } from './check-health.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { readControlDrift, type ControlDrift } from './control-drift.ts';

/** How often it says that it is alive, and hears that it is cancelled. Real time. */
const HEARTBEAT_MS = 2_000;
/** Gateways write their sums once a second. */
const WRITE_MS = 1_500;

interface Watched {
  input: CheckHealthInput;
  ramp: NonNullable<CheckHealthInput['ramp']>;
  config: LineConfig;
  startedAt: Date;
}

interface Look {
  evidence: HealthEvidence;
  looks: readonly HealthLook[];
}

/**
 * The health check of the mode `sequential`. It lasts for `canary.checkEvery`, looks at the evidence of the whole ramp (or of
 * the whole watch) once every bucket and returns at an alarm. The candidate is allowed on once, from the check's start, after a
 * first look without an alarm.
 * In the end it judges as a check of the mode `consecutive` does, against the stricter z of a backstop.
 *
 * The evidence is made anew of the buckets at each look. The most there was is carried by heartbeats and the breaker's
 * state, so that rows that are written late do not take an alarm back.
 */
export async function watchHealth(deps: RolloutDependencies, watched: Watched): Promise<CheckHealthResult> {
  const { input, config, startedAt } = watched;
  const clock = checkClock(config, startedAt);
  let breaker = withPeak(input.breaker, peakOfLastTry());
  let drift: ControlDrift | null = null;
  for (let looks = 0; ; looks++) {
    drift ??= await controlDrift(deps, watched);
    const look = await lookOnce(deps, watched, drift, breaker.peakEvidence);
    if (look.evidence.kind === 'known') {
      breaker = withPeak(breaker, look.evidence.peak);
      if (look.evidence.alarm) return alarm(breaker, look.evidence, watched, clock.nowMs());
    }
    Context.current().heartbeat({ peakEvidence: breaker.peakEvidence });
    if (clock.isOver()) return judge(deps, watched, { ...look, drift, breaker });
    if (looks === 0) {
      const refused = await allowOn(deps, { input, config, startedAt });
      if (refused !== null) return { ...(await judge(deps, watched, { ...look, drift, breaker })), refused };
    }
    await sleep(clock.untilNextLookMs(), breaker);
  }
}

/** Looks come when a bucket has ended and the gateways have had the time to write it. */
function checkClock(
  { canary, health }: LineConfig,
  startedAt: Date,
): { nowMs: () => number; isOver: () => boolean; untilNextLookMs: () => number } {
  const begunMs = performance.now();
  const elapsedMs = (): number => performance.now() - begunMs;
  const writtenMs = Math.min(WRITE_MS, health.bucket / 4);
  const nowMs = (): number => startedAt.getTime() + elapsedMs();
  return {
    nowMs,
    isOver: () => elapsedMs() >= canary.checkEvery,
    untilNextLookMs() {
      const restMs = canary.checkEvery - elapsedMs();
      const intoBucketMs = (nowMs() - writtenMs) % health.bucket;
      return Math.max(1, Math.min(restMs, health.bucket - intoBucketMs));
    },
  };
}

async function controlDrift(deps: RolloutDependencies, { input, ramp, config }: Watched): Promise<ControlDrift | null> {
  try {
    return await readControlDrift(deps, { input, rampStartedAtMs: ramp.startedAtMs, config });
  } catch (error) {
    deps.logger.warn({ err: error, line: input.line }, 'how far the arms drift apart could not be read');
    return null;
  }
}

async function lookOnce(
  deps: RolloutDependencies,
  { input, ramp, config }: Watched,
  drift: ControlDrift | null,
  peakBefore: number | undefined,
): Promise<Look> {
  if (drift === null) return { evidence: unread('the history of the holdback could not be read'), looks: [] };
  try {
    const nowMs = (await databaseNow(deps.db)).getTime();
    const looks = await readHealthLooks(deps.db, {
      line: input.line,
      version: input.version,
      sinceEpoch: ramp.epoch,
      fromMs: ramp.startedAtMs,
      toMs: nowMs,
      bucketMs: config.health.bucket,
      slowFrom: drift.slowFrom ?? 0,
    });
    return { evidence: judgeEvidence(looks, evidenceSettings(input, config, drift), peakBefore), looks };
  } catch (error) {
    return { evidence: unread((error as Error).message), looks: [] };
  }
}

function unread(why: string): HealthEvidence {
  const message = `The evidence could not be read: ${why}`;
  return { kind: 'unknown', reasons: [{ code: 'health.sequential.source', message }] };
}

function evidenceSettings(
  { phase }: CheckHealthInput,
  config: LineConfig,
  { slowFrom, drifts }: ControlDrift,
): EvidenceSettings {
  const { window } = phase === 'watch' ? config.watch : config.canary;
  const { bucket, feedbackDelay, quality, sequential } = config.health;
  const { weights, alpha } = sequential;
  return {
    alpha: EVIDENCE_SHARE * alpha,
    weights: {
      ...weights,
      latency: slowFrom === null ? 0 : weights.latency,
      clickThroughRate: quality.includes('clickThroughRate') ? weights.clickThroughRate : 0,
      logLoss: quality.includes('logLoss') ? weights.logLoss : 0,
      dwell: quality.includes('dwell') ? weights.dwell : 0,
    },
    drifts,
    horizon: Math.max(1, Math.round(window / bucket)),
    blockLooks: blockLooksOf(config),
    delayLooks: Math.ceil(feedbackDelay / bucket),
  };
}

/** A minute's worth, at the production defaults: as long as an arm's drift is taken to last. */
export function blockLooksOf({ canary, health }: LineConfig): number {
  return Math.max(1, Math.round(canary.checkEvery / health.bucket));
}

function alarm(
  breaker: BreakerState,
  { reasons }: HealthEvidence,
  { input, config }: Watched,
  atMs: number,
): CheckHealthResult {
  const verdict: HealthVerdict = { status: 'fail', reasons, alarm: true };
  const { state, decision } = assessCheck({
    state: breaker,
    check: { ...verdict, atMs },
    config: breakerConfig(input, config),
  });
  return { verdict, breaker: state, decision, refused: null };
}

/** The check's own verdict, with what the evidence could not say. */
async function judge(
  deps: RolloutDependencies,
  { input, config }: Watched,
  { evidence, looks, drift, breaker }: Look & { drift: ControlDrift | null; breaker: BreakerState },
): Promise<CheckHealthResult> {
  const nowMs = (await databaseNow(deps.db)).getTime();
  const reading = await readHealth(deps, { input, config, nowMs });
  const sinceStep = looks.slice(
    Math.max(0, looks.length - Math.floor((nowMs - input.stepStartedAtMs) / config.health.bucket)),
  );
  const backstop = drift && {
    maxZ: SEQUENTIAL.backstopZ,
    blocks: effectiveBlocks(sinceStep, blockLooksOf(config)),
    drifts: drift.drifts,
  };
  const checked = judgeHealth({ reading, config: config.health, backstop });
  const verdict: HealthVerdict =
    evidence.kind === 'unknown' && checked.status !== 'fail'
      ? { status: 'unknown', reasons: [...evidence.reasons, ...checked.reasons] }
      : { ...checked, reasons: [...checked.reasons, ...evidence.reasons] };
  const { state, decision } = assessCheck({
    state: breaker,
    check: { status: verdict.status, reasons: verdict.reasons, atMs: nowMs },
    config: breakerConfig(input, config),
  });
  return { verdict, breaker: state, decision, refused: null };
}

function peakOfLastTry(): number | undefined {
  const details = Context.current().info.heartbeatDetails as { peakEvidence?: unknown } | undefined;
  return typeof details?.peakEvidence === 'number' ? details.peakEvidence : undefined;
}

function withPeak(breaker: BreakerState, peak: number | undefined): BreakerState {
  if (peak === undefined) return breaker;
  return { ...breaker, peakEvidence: Math.max(peak, breaker.peakEvidence ?? 0) };
}

/** @throws CancelledFailure once the cycle is told to end. */
async function sleep(ms: number, { peakEvidence }: BreakerState): Promise<void> {
  const atMs = performance.now() + ms;
  for (let restMs = ms; restMs > 0; restMs = atMs - performance.now()) {
    await Context.current().sleep(Math.min(restMs, HEARTBEAT_MS));
    Context.current().heartbeat({ peakEvidence });
  }
}
