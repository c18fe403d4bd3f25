import { lineConfigSchema, type LineConfig } from '../../config/schema.ts';
import { claimCycle, type ClaimResult } from '../../store/cycles.ts';
import type { Queryable } from '../../store/database.ts';
import { applyLine } from '../../store/lines.ts';
import { rollbackCycle } from '../../store/rollbacks.ts';
import { currentRoute, moveRoute, promote, type MoveRequest } from '../../store/routes.ts';
import type { Alert, CycleRecord, Lineage, Route, RouteMove, RouteState, VersionRecord } from '../../store/types.ts';
import { createVersion } from '../../store/versions.ts';

/** Builds the states that store tests start from, through the store's own functions. */

export const LINE = 'news-feed';
export const LEASE_MS = 60_000;

export function lineConfig(change: Partial<LineConfig> = {}): LineConfig {
  return { ...lineConfigSchema.parse({ line: LINE, features: [{ kind: 'numeric', name: 'age' }] }), ...change };
}

export function alert(dedupKey: string): Alert {
  return { dedupKey, severity: 'info', page: false, line: LINE, title: dedupKey, text: dedupKey, fields: {} };
}

/** Claims the line for `cycleId`; fails when it is not free. */
export async function claim(db: Queryable, cycleId: string): Promise<CycleRecord> {
  const result = await tryClaim(db, { line: LINE, cycleId });
  if (result.kind !== 'claimed') throw new Error(`expected to claim the line for ${cycleId}, got ${result.kind}`);
  return result.cycle;
}

/** Claims a line for a cycle whose run is never over. */
export function tryClaim(db: Queryable, { line, cycleId }: { line: string; cycleId: string }): Promise<ClaimResult> {
  return claimCycle(db, {
    line,
    cycleId,
    workflowId: `workflow-${cycleId}`,
    runId: `run-${cycleId}`,
    trigger: 'test',
    isRunOver: () => Promise.resolve(false),
  });
}

/** Registers the cycle's candidate; what is not its line or its metrics changes its lineage. */
export async function register(
  db: Queryable,
  cycleId: string,
  parent: number | null = null,
  { line = LINE, metrics = {}, ...change }: Partial<Lineage & Pick<VersionRecord, 'line' | 'metrics'>> = {},
): Promise<VersionRecord> {
  const config = lineConfig();
  const lineage: Lineage = {
    parent,
    strategy: 'full',
    snapshotId: 's',
    trainerManifestSha256: 't',
    config,
    configHash: 'c',
    features: config.features,
    codeVersion: 'test',
    seed: 1,
    threads: 1,
    environment: {},
    cycleId,
    workflowId: `workflow-${cycleId}`,
    runId: `run-${cycleId}`,
    ...change,
  };
  return createVersion(db, {
    line,
    cycleId,
    effectKey: `${cycleId}/register`,
    parent,
    modelSha256: 'a'.repeat(64),
    checkpointSha256: null,
    features: lineage.features,
    trainingCutoffMs: 1_700_000_000_000,
    lineage,
    metrics,
  });
}

/** A line with version 1 as its stable, promoted directly by cycle `cold`. */
export async function lineWithStable(db: Queryable): Promise<Route> {
  await applyLine(db, { config: lineConfig(), who: 'test' });
  await claim(db, 'cold');
  const { version } = await register(db, 'cold');
  const { epoch } = await currentRoute(db, LINE);
  return moved(
    await promote(db, {
      cycleId: 'cold',
      version,
      expectedEpoch: epoch,
      who: 'test',
      why: 'cold start',
      effectKey: 'cold/promote',
      alert: alert('cold/promoted'),
      direct: true,
    }),
  );
}

/** On top of `lineWithStable`: an open cycle whose candidate is a canary at 10 % (or a shadow). */
export async function lineWithCandidate(
  db: Queryable,
  { cycleId, as = 'canary', leaseMs = LEASE_MS }: { cycleId: string; as?: 'canary' | 'shadow'; leaseMs?: number },
): Promise<{ candidate: number; route: Route }> {
  const before = await lineWithStable(db);
  await claim(db, cycleId);
  const { version } = await register(db, cycleId, 1);
  const next = as === 'canary' ? canary(1, version) : shadow(1, version);
  return { candidate: version, route: moved(await move(db, { cycleId, next, expectedEpoch: before.epoch, leaseMs })) };
}

export function canary(stable: number, version: number, canaryShare = 0.1): RouteState {
  return { stable, canary: version, canaryShare, holdback: 0.1, holdbackVersion: null, shadow: null, shadowShare: 0 };
}

export function shadow(stable: number, version: number): RouteState {
  return { stable, canary: null, canaryShare: 0, holdback: 0, holdbackVersion: null, shadow: version, shadowShare: 1 };
}

export function alone(stable: number): RouteState {
  return { stable, canary: null, canaryShare: 0, holdback: 0, holdbackVersion: null, shadow: null, shadowShare: 0 };
}

export function move(
  db: Queryable,
  request: Pick<MoveRequest, 'cycleId' | 'next' | 'expectedEpoch'> & Partial<MoveRequest>,
): Promise<RouteMove> {
  const effectKey = `${request.cycleId}/route/${String(request.expectedEpoch)}`;
  return moveRoute(db, { line: LINE, who: 'test', why: 'test', effectKey, leaseMs: LEASE_MS, ...request });
}

export function promoteCandidate(
  db: Queryable,
  request: { cycleId: string; version: number; expectedEpoch: number; holdback?: number },
): Promise<RouteMove> {
  const { cycleId } = request;
  const effectKey = `${cycleId}/promote`;
  return promote(db, { ...request, who: 'test', why: 'better', effectKey, alert: alert(`${cycleId}/promoted`) });
}

export function rollback(db: Queryable, cycleId: string): Promise<{ route: Route; alreadyDone: boolean }> {
  return rollbackCycle(db, {
    cycleId,
    who: 'the monitor',
    why: 'worse',
    reasons: [{ code: 'health.logLoss', message: 'worse' }],
    outcome: 'rolledBack',
    effectKey: `${cycleId}/rollback`,
    alert: alert(`${cycleId}/rolledBack`),
  });
}

/** The route of a move that must have been made. */
export function moved(result: RouteMove): Route {
  if (result.kind !== 'moved') throw new Error(`expected the route to move, got ${JSON.stringify(result)}`);
  return result.route;
}
