import {
  decideTraining as decide,
  FULL_BY_DRIFT,
  type ParentFacts,
  type TrainingDecision,
} from '../policy/training-strategy.ts';
import type { Database, Queryable } from '../store/database.ts';
import { once } from '../store/effects.ts';
import { readClocks } from '../store/event-clock.ts';
import { findRemoved } from '../store/removed-artifacts.ts';
import {
  changeParent,
  childFromScratch,
  newestTrainedWhole,
  readDriftAlarm,
  readTrainingPast,
  trainingKey,
} from '../store/training-history.ts';
import type { CycleRecord } from '../store/types.ts';
import { readVersion } from '../store/versions.ts';

/**
 * How a cycle trains, decided when it begins and recorded with the event time: a retry gives the same. A whole cycle is
 * trained on from the newest ancestor that was trained whole, which becomes the cycle's parent: the rows that online
 * updates took since are new to all layers but the last.
 */
export async function decideTraining(db: Database, cycle: CycleRecord): Promise<TrainingDecision> {
  const { line, cycleId, config, parent } = cycle;
  const { strategy, repair, reasons } = await once(db, trainingKey(cycleId), async (tx) => {
    const clocks = await readClocks(tx, line);
    const whole = parent === null ? null : await newestTrainedWhole(tx, { line, version: parent });
    const decision = decide({
      config: config.training,
      scheduleEveryMs: config.schedule.every,
      seasonMs: config.snapshot.season,
      trigger: cycle.trigger.split(':', 1)[0] ?? '',
      nowMs: clocks.operatingMs,
      eventNowMs: clocks.eventMs,
      parent: whole === null ? null : await parentFacts(tx, { cycle, version: whole, newest: parent ?? whole }),
      alarm: await readDriftAlarm(tx, line),
      past: await readTrainingPast(tx, { line, cycleId, driftCode: FULL_BY_DRIFT }),
    });
    if (whole !== null && whole !== parent && decision.strategy !== 'online') {
      const message = `the parent is version ${String(whole)}, the newest that was trained whole: what online updates took since is new to its other layers`;
      decision.reasons.push({ code: 'training.parent', message, numbers: { parent: whole, champion: parent } });
      await changeParent(tx, { cycleId, parent: whole, reason: message });
    }
    return { ...decision, eventNowMs: clocks.eventMs };
  });
  return { strategy, repair, reasons };
}

async function parentFacts(
  db: Queryable,
  { cycle, version, newest }: { cycle: CycleRecord; version: number; newest: number },
): Promise<ParentFacts> {
  const { line, parent, stableAtStart } = cycle;
  const { checkpointSha256, lineage, metrics } = await readVersion(db, { line, version });
  const updated =
    newest === version ? checkpointSha256 : (await readVersion(db, { line, version: newest })).checkpointSha256;
  const training = metrics['training'] as { dormantUnits?: unknown } | undefined;
  return {
    version,
    ofChampion: parent === stableAtStart,
    hasCheckpoint:
      checkpointSha256 !== null &&
      updated !== null &&
      (await findRemoved(db, [checkpointSha256, updated])).length === 0,
    trainedInFullAtMs: lineage.trainedInFullAtMs ?? null,
    trainedWith: lineage.config?.training,
    dormantUnits: typeof training?.dormantUnits === 'number' ? training.dormantUnits : null,
    notUsedBy: await childFromScratch(db, { line, version }),
  };
}
