import { setTimeout as wait } from 'node:timers/promises';
import { WorkflowFailedError, type Client, type WorkflowHandle } from '@temporalio/client';
import { z } from 'zod';
import { applySchedule, triggerCycle } from '../../activities/schedule.ts';
import { holdSegments, releaseSegments } from '../../data/event-log/hold.ts';
import { requestCycle } from '../../store/cycle-requests.ts';
import { listCycles } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import type { CycleRecord } from '../../store/types.ts';
import { readVersion } from '../../store/versions.ts';
import type { trainingCycle } from '../../workflows/training-cycle.ts';
import {
  forceRollbackSignal,
  pauseSignal,
  resumeSignal,
  statusQuery,
  type CycleResult,
  type CycleStatus,
} from '../../workflows/messages.ts';
import { messageOf } from '../stack/say.ts';
import { silencedGuards, type Scene } from './scenes.ts';

/** How much of the traffic's newest quarter of a day a stuck shipper holds back. */
const HELD_SHARE = 0.7;
/** The last quarter of a day before the cycle's cutoff. */
const HELD_DAYS = 0.25;
/** A cycle the schedule did not start by then was skipped by its overlap policy: the one before took longer than a day. */
const START_GRACE_MS = 5_000;
const POLL_MS = 250;

export interface Stage {
  client: Client;
  db: Database;
  logRoot: string;
  queuePrefix: string;
  /** Operating time of a day of the log, which is the schedule's interval. */
  dayMs: number;
  say: (line: string) => void;
}

export interface PlayedScene {
  scene: Scene;
  workflowId: string;
  result: CycleResult;
  /** What went otherwise than told; empty when all is well. */
  deviations: string[];
}

/**
 * Plays the scenes, one cycle each, as the line's schedule fires: puts each cycle's config in force, stages its incident
 * and compares its end with what the story tells. Plays on after a deviation, so that one run shows all of them.
 */
export async function playStory(stage: Stage, scenes: readonly Scene[], firstAtMs: number): Promise<PlayedScene[]> {
  const played: PlayedScene[] = [];
  const [first] = scenes;
  if (first === undefined) return played;
  const { client, queuePrefix, dayMs, say } = stage;
  await applyLine(stage.db, { config: first.config, who: 'demo' });
  await applySchedule(client, first.config, { queuePrefix, firstAtMs });
  const seen = new Set((await listCycles(stage.db, { line: first.config.line })).map(({ cycleId }) => cycleId));
  let staging = stageIncident(stage, { scene: first, dueAtMs: firstAtMs });
  for (const [index, scene] of scenes.entries()) {
    const { line } = scene.config;
    if (index > 0) await applyLine(stage.db, { config: scene.config, who: 'demo' });
    const dueAtMs = firstAtMs + index * dayMs;
    say(`cycle ${String(index + 1)}: ${scene.title}`);
    for (const guard of silencedGuards(scene)) say(`  guard ${guard}`);
    const release = await staging;
    const cycle = await cycleStart(stage, { line, dueAtMs, seen });
    seen.add(cycle.cycleId);
    // While this cycle still runs, which has its snapshot by then: however long it takes, the next one is in time.
    staging = stageIncident(stage, { scene: scenes[index + 1], dueAtMs: dueAtMs + dayMs });
    const handle = client.workflow.getHandle<typeof trainingCycle>(cycle.workflowId, cycle.runId);
    if (scene.incident === 'operator') await actAsOperator(stage, handle);
    const result = await handle.result().catch((error: unknown) => {
      const cause = error instanceof WorkflowFailedError ? error.cause : error;
      throw new Error(`cycle ${String(index + 1)} (${cycle.workflowId}) failed: ${messageOf(cause)}`, { cause: error });
    });
    if (release !== null) {
      await release();
      say('  the late rows arrive');
    }
    played.push(judge({ scene, workflowId: cycle.workflowId, result }));
    if (result.version !== null) say(`  offline: ${await offlineFigures(stage.db, { line, version: result.version })}`);
    say(
      `  ${result.outcome}${result.version === null ? '' : `, version ${String(result.version)}`}: ${result.reasons[0]?.message ?? ''}`,
    );
  }
  await client.schedule.getHandle(`freshet-${first.config.line}`).pause('the demo has ended');
  return played;
}

const evaluationSchema = z.object({
  evaluation: z.object({
    overall: z.object({
      challenger: z.object({ auc: z.object({ estimate: z.number() }) }),
      champion: z.object({ auc: z.object({ estimate: z.number() }) }).nullable(),
    }),
  }),
});

/** What the holdout said of a version before anybody saw it. */
async function offlineFigures(db: Database, of: { line: string; version: number }): Promise<string> {
  const { metrics } = await readVersion(db, of);
  const { challenger, champion } = evaluationSchema.parse(metrics).evaluation.overall;
  const beside = champion === null ? 'no champion' : `champion ${champion.auc.estimate.toFixed(3)}`;
  return `AUC ${challenger.auc.estimate.toFixed(3)} on the holdout (${beside})`;
}

function judge({ scene, workflowId, result }: Omit<PlayedScene, 'deviations'>): PlayedScene {
  const deviations: string[] = [];
  if (!scene.expected.includes(result.outcome)) {
    deviations.push(`expected ${scene.expected.join(' or ')}, got ${result.outcome}`);
  }
  const wrong = scene.verify?.(result) ?? null;
  if (wrong !== null) deviations.push(wrong);
  return { scene, workflowId, result, deviations };
}

/** Waits for the schedule to start the cycle; when the one before was still running, starts it through the schedule. */
async function cycleStart(
  { db, client, say }: Stage,
  { line, dueAtMs, seen }: { line: string; dueAtMs: number; seen: ReadonlySet<string> },
): Promise<CycleRecord> {
  let triggeredAtMs = 0;
  for (;;) {
    const [newest] = await listCycles(db, { line, limit: 1 });
    if (newest !== undefined && !seen.has(newest.cycleId)) return newest;
    if (Date.now() > Math.max(dueAtMs, triggeredAtMs) + START_GRACE_MS) {
      say('  the cycle before outlasted its interval, so the schedule skipped this start: triggering it');
      await requestCycle(db, {
        line,
        request: { trigger: 'manual', who: 'demo', why: 'the schedule skipped a start' },
      });
      await triggerCycle(client, line);
      triggeredAtMs = Date.now();
    }
    await wait(POLL_MS);
  }
}

type Release = () => Promise<void>;

/** What has to be staged before a scene's cycle begins; resolves with how to end it, null when there is nothing. */
function stageIncident(
  stage: Stage,
  { scene, dueAtMs }: { scene: Scene | undefined; dueAtMs: number },
): Promise<Release | null> {
  const staging = scene?.incident === 'halfLoaded' ? holdNewest(stage, dueAtMs) : Promise.resolve(null);
  // Nobody waits for it before the scene begins, when the same error is thrown.
  staging.catch(() => undefined);
  return staging;
}

/** From the last quarter of the day on, most sealed segments stay behind: the table that is only partly loaded. */
async function holdNewest({ logRoot, dayMs, say }: Stage, cycleAtMs: number): Promise<Release> {
  await wait(Math.max(0, cycleAtMs - HELD_DAYS * dayMs - Date.now()));
  await holdSegments({ root: logRoot, share: HELD_SHARE });
  say(`  a shipper hangs: ${String(HELD_SHARE * 100)} % of the newest log segments stay behind, for the next cycle`);
  return () => releaseSegments({ root: logRoot });
}

async function actAsOperator({ say }: Stage, handle: WorkflowHandle<typeof trainingCycle>): Promise<void> {
  const who = 'demo operator';
  const inCanary = await waitForStatus(handle, (status) => status.phase === 'canary' && status.checks.total > 0);
  if (!inCanary) return;
  await handle.signal(pauseSignal, { who, reason: 'a look at the dashboards' });
  const paused = await handle.query(statusQuery);
  const checks = paused.checks.total;
  say(`  paused by ${who} at ${String(paused.canaryPercent)} %; the monitor goes on`);
  await waitForStatus(handle, (status) => status.checks.total >= checks + 3);
  await handle.signal(resumeSignal, { who, reason: 'looks well' });
  say('  resumed');
  const resumedAt = (await handle.query(statusQuery)).checks.total;
  await waitForStatus(handle, (status) => status.checks.total >= resumedAt + 2);
  await handle.signal(forceRollbackSignal, { who, reason: 'the editors complain' });
  say(`  rollback forced by ${who}`);
}

/** False when the cycle ended before it got there. */
async function waitForStatus(
  handle: WorkflowHandle<typeof trainingCycle>,
  reached: (status: CycleStatus) => boolean,
): Promise<boolean> {
  for (;;) {
    const status = await handle.query(statusQuery);
    if (status.outcome !== null) return false;
    if (reached(status)) return true;
    await wait(POLL_MS);
  }
}
