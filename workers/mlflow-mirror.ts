import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import { mlflowFromEnv, type MlflowTarget } from '../integrations/mlflow-settings.ts';
import { MlflowError } from '../integrations/mlflow.ts';
import { databaseNow, type Database } from '../store/database.ts';
import { claimMlflowLines, releaseMlflowLine, type ClaimedLine } from '../store/mlflow-mirrors.ts';
import { mirrorLine, type MirrorContext } from './mlflow-line.ts';

export interface MirrorReport {
  /** Versions that are in step with Freshet now and were not before. */
  versions: number;
  /** Lines with something that MLflow refuses, or that is somebody else's there. */
  notes: { line: string; note: string }[];
  /** Why it ended before all was mirrored; null when it did not. */
  interrupted: Error | null;
}

/** A change waits at most this long on top of MLflow's own time. */
const MIRROR_EVERY_MS = 10_000;
const LONGEST_BACKOFF_MS = 60_000;
/** Lines at a time: MLflow answers a request in some ten milliseconds, and a line's follow each other. */
const LINES_AT_ONCE = 4;

/**
 * Mirrors every line that changed, each by one process at a time. Ends at the first line for which MLflow can not be used;
 * the next call begins with other lines.
 *
 * @param of.now what counts as due; the database's time when left out.
 */
export async function mirrorToMlflow(
  db: Database,
  { target: { mlflow, prefix, id }, now, signal }: { target: MlflowTarget; now?: Date; signal?: AbortSignal },
): Promise<MirrorReport> {
  const report: MirrorReport = { versions: 0, notes: [], interrupted: null };
  const context: Omit<MirrorContext, 'now'> = {
    ...{ db, prefix, target: id },
    mlflow: signal === undefined ? mlflow : mlflow.until(signal),
  };
  while (report.interrupted === null && signal?.aborted !== true) {
    const at = now ?? (await databaseNow(db));
    const lines = await claimMlflowLines(db, { target: id, now: at, limit: LINES_AT_ONCE });
    if (lines.length === 0) return report;
    await Promise.all(lines.map((line) => mirrorClaimed({ ...context, now: at, signal }, line, report)));
  }
  return report;
}

async function mirrorClaimed(
  context: MirrorContext & { signal: AbortSignal | undefined },
  line: ClaimedLine,
  report: MirrorReport,
): Promise<void> {
  const { db, now } = context;
  try {
    const { versions, kind, note } = await mirrorLine(context, line.line);
    report.versions += versions;
    if (note !== null) report.notes.push({ line: line.line, note });
    await releaseMlflowLine(db, line, { how: kind === 'refused' ? 'failed' : kind, now, note });
  } catch (error) {
    if (!(error instanceof MlflowError)) throw error;
    if (context.signal?.aborted === true) {
      await releaseMlflowLine(db, line, { how: 'unfinished', now, note: null });
      return;
    }
    // A request of the whole line that MLflow refuses concerns no other line.
    if (error.retryable) report.interrupted = error;
    else report.notes.push({ line: line.line, note: error.message });
    await releaseMlflowLine(db, line, { how: 'failed', now, note: error.message });
  }
}

/**
 * Mirrors versions to the tracking server that MLFLOW_TRACKING_URI names, until stopped; null when it is not set, or set to
 * what is none: that is logged, since cycles do not need MLflow. While MLflow is away it is asked again after 1 s, doubling
 * to a minute.
 */
export function startMlflowMirror({
  db,
  logger,
  processEnv,
}: {
  db: Database;
  logger: Logger;
  processEnv: Record<string, string | undefined>;
}): { stop: () => Promise<void> } | null {
  const target = readTarget(processEnv, logger);
  if (target === null) return null;
  const stopping = new AbortController();
  const { signal } = stopping;
  const loop = mirrorUntil(signal, { db, logger, target });
  return {
    async stop() {
      stopping.abort();
      await loop;
    },
  };
}

function readTarget(processEnv: Record<string, string | undefined>, logger: Logger): MlflowTarget | null {
  try {
    return mlflowFromEnv(processEnv);
  } catch (error) {
    logger.warn(`versions are not mirrored to MLflow: ${error instanceof Error ? error.message : String(error)}`);
    return null;
  }
}

async function mirrorUntil(
  signal: AbortSignal,
  { db, logger, target }: { db: Database; logger: Logger; target: MlflowTarget },
): Promise<void> {
  const said = new Map<string, string>();
  const say = (about: string, text: string): void => {
    if (said.get(about) !== text) logger.warn({ line: about || undefined }, text);
    said.set(about, text);
  };
  let failures = 0;
  while (!signal.aborted) {
    const { versions, notes, interrupted } = await mirrorToMlflow(db, { target, signal }).catch(
      (error: unknown): MirrorReport => ({
        ...{ versions: 0, notes: [] },
        interrupted: error instanceof Error ? error : new Error(String(error)),
      }),
    );
    for (const { line, note } of notes) say(line, `not all of the line is in MLflow: ${note}`);
    if (interrupted !== null) say('', `versions could not be mirrored to MLflow, trying again: ${interrupted.message}`);
    else if (failures > 0) logger.info('versions are mirrored to MLflow again');
    if (interrupted === null) said.delete('');
    failures = interrupted === null || versions > 0 ? 0 : failures + 1;
    const waitMs =
      failures === 0 ? MIRROR_EVERY_MS : Math.min(LONGEST_BACKOFF_MS, 1_000 * 2 ** Math.min(failures - 1, 30));
    await wait(waitMs, undefined, { signal }).catch(() => undefined);
  }
}
