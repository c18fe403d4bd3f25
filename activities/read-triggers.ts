import { ScheduleNotFoundError, type Client } from '@temporalio/client';
import { z } from 'zod';
import { scheduleId } from '../config/names.ts';
import type { LineConfig, TriggersConfig } from '../config/schema.ts';
import { milliseconds } from '../policy/figures.ts';
import type { ArmSums } from '../policy/health.ts';
import type { TriggerReading, Unknown } from '../policy/triggers.ts';
import type { Database } from '../store/database.ts';
import { readClocks, type ClockReading } from '../store/event-clock.ts';
import { countImpressions, HEALTH_RETENTION_MS, readStableSums } from '../store/health-sums.ts';
import { readLine } from '../store/lines.ts';
import { newestSnapshot, readTriggerState, stableSince } from '../store/triggers.ts';
import { INPUT_ORDER_VERSION } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';

export interface ReadTriggersResult {
  reading: TriggerReading;
  config: TriggersConfig;
}

/**
 * What the triggers of a line are decided by: a few sums over the live health sums, no data is read. Everything in it is
 * a number or says that it is not known.
 */
export async function readTriggers(
  { db, temporal }: { db: Database; temporal: Client },
  { line }: { line: string },
): Promise<ReadTriggersResult> {
  const { config } = await readLine(db, line);
  const clocks = await readClocks(db, line);
  const snapshot = await newestSnapshot(db, line);
  const maturityMs = snapshot?.maturityMs ?? config.label.maturity;
  const sight = { db, line, config, clocks, maturityMs };
  const reading: TriggerReading = {
    nowMs: clocks.operatingMs,
    scheduleEveryMs: config.schedule.every,
    schedule: await readSchedule(temporal, line),
    ...(await readTriggerState(db, line)),
    newExamples: await newExamples(sight, snapshot),
    ...(await liveOfStable(sight)),
  };
  return { reading, config: config.triggers };
}

async function readSchedule(temporal: Client, line: string): Promise<TriggerReading['schedule']> {
  try {
    const { state, info } = await temporal.schedule.getHandle(scheduleId(line)).describe();
    if (state.paused) return { kind: 'paused', note: state.note ?? 'no reason given' };
    return {
      kind: 'active',
      nextAtMs: info.nextActionTimes[0]?.getTime() ?? null,
      running: info.runningActions.length > 0,
      createdAtMs: info.createdAt.getTime(),
    };
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return { kind: 'none' };
    throw error;
  }
}

interface Sight {
  db: Database;
  line: string;
  config: LineConfig;
  clocks: ClockReading;
  /** Event time after which a label is complete. */
  maturityMs: number;
}

/**
 * Impressions with a label, the true one or a proxy, since the newest snapshot's cutoff, whatever became of that cycle: its rows were looked
 * at. Taken from the live health sums, where the gateways count what they serve: an indexed sum, and no read of the log.
 */
async function newExamples(
  { db, line, config, clocks }: Sight,
  snapshot: { cutoffMs: number; takenAtMs: number } | null,
): Promise<TriggerReading['newExamples']> {
  if (config.source.kind !== 'eventLog') {
    return { unknown: `only what gateways log is counted, and the line's source is of kind ${config.source.kind}` };
  }
  if (!(clocks.rate > 0)) return { unknown: "the line's event clock stands still" };
  const { maturity, proxy } = config.label;
  const labelAgeMs = snapshot === null ? (proxy?.maturity ?? maturity) : snapshot.takenAtMs - snapshot.cutoffMs;
  const maturedMs = clocks.eventMs - labelAgeMs;
  const sinceMs = Math.max(snapshot?.cutoffMs ?? -Infinity, maturedMs - config.snapshot.maxWindow);
  const operating = (eventMs: number): number => clocks.operatingMs - (clocks.eventMs - eventMs) / clocks.rate;
  return { count: await countImpressions(db, { line, fromMs: operating(sinceMs), toMs: operating(maturedMs) }) };
}

/** The stable version's arm in the recent stretch, beside its evaluation and beside its first hours. */
async function liveOfStable({
  db,
  line,
  config,
  clocks,
  maturityMs,
}: Sight): Promise<Pick<TriggerReading, 'drift' | 'performance'>> {
  const { version, at } = await stableSince(db, line);
  const neither = (unknown: string): { drift: Unknown; performance: Unknown } => ({
    drift: { unknown },
    performance: { unknown },
  });
  if (version === INPUT_ORDER_VERSION) return neither('the line has no model yet');
  const { window, performance } = config.triggers;
  const maturity = maturityMs / clocks.rate;
  // As long as labels come in, the recent stretch would look worse than the reference, which has them all.
  const lag = Math.max(config.health.feedbackDelay, Math.min(maturity, HEALTH_RETENTION_MS));
  const toMs = clocks.operatingMs - lag;
  const fromMs = toMs - window;
  const sinceMs = at.getTime();
  const serves = `version ${String(version)} serves as stable for ${milliseconds(clocks.operatingMs - sinceMs)}`;
  if (fromMs < sinceMs) return neither(`${serves}, ${milliseconds(lag + window)} are needed`);
  const of = { line, version };
  const recent = await readStableSums(db, { ...of, fromMs, toMs });
  if (!isFinite(recent))
    return neither(`the live sums of version ${String(version)} hold a value that is not a number`);
  const drift = await readDrift(db, {
    ...of,
    recent,
    clicksComparable: maturity <= HEALTH_RETENTION_MS && config.label.proxy === undefined,
  });
  const { reference } = performance;
  if (fromMs < sinceMs + reference)
    return { drift, performance: { unknown: `${serves}, ${milliseconds(lag + window + reference)} are needed` } };
  const first = await readStableSums(db, { ...of, fromMs: sinceMs, toMs: sinceMs + reference });
  return {
    drift,
    performance: isFinite(first)
      ? { version, recent, first }
      : { unknown: `the live sums of version ${String(version)} hold a value that is not a number` },
  };
}

const counts = { rows: z.number().positive(), positives: z.number() };
const model = z.object({ calibration: z.object({ estimate: z.number() }) });
const evaluated = z.object({
  evaluation: z.union([
    z.object({ overall: z.object({ ...counts, challenger: model }) }).transform(({ overall }) => overall),
    // Of builds before slices were measured: the version that serves may be one of theirs.
    z
      .object({ ...counts, challengerMetrics: model })
      .transform(({ challengerMetrics, ...rest }) => ({ ...rest, challenger: challengerMetrics })),
  ]),
});

/** Its evaluation's calibration is the sum of scores over the positives. */
async function readDrift(
  db: Database,
  of: { line: string; version: number; recent: ArmSums; clicksComparable: boolean },
): Promise<TriggerReading['drift']> {
  const { version, recent, clicksComparable } = of;
  const { metrics } = await readVersion(db, of);
  const parsed = evaluated.safeParse(metrics);
  if (!parsed.success) return { unknown: `version ${String(version)} has no evaluation to compare with` };
  const { rows, positives, challenger } = parsed.data.evaluation;
  const meanScore = (challenger.calibration.estimate * positives) / rows;
  return { version, recent, reference: { rows, positives, meanScore, clicksComparable } };
}

/** NaN does not survive the way to the workflow. */
function isFinite(sums: ArmSums): boolean {
  return Object.values(sums).every((value: number) => Number.isFinite(value));
}
