import { setTimeout as sleep } from 'node:timers/promises';
import { listCycles, openCycle } from '../../store/cycles.ts';
import { openDatabase, type Database } from '../../store/database.ts';
import { operatorRollback, rollbackCycle } from '../../store/rollbacks.ts';
import { currentRoute, moveRoute, promote, settle } from '../../store/routes.ts';
import type { CycleRecord, Route, RouteMove } from '../../store/types.ts';
import { alert, alone, canary, LEASE_MS, register, shadow, tryClaim } from './stage.ts';

/** One of the processes of concurrent-moves.test.ts: `route-mover URL NAME MOVES LINE...` begins at a message, reports in one. */

export interface MoverReport {
  /** Moves that were made. */
  made: { kind: string; line: string; epoch: number; attempt: string }[];
  /** How often which refusal came. */
  refused: Record<string, number>;
  /** Repeats of a made move under its key that returned another epoch. */
  unequal: string[];
}

type Attempt = { kind: 'moved'; epoch: number } | { kind: string; epoch: null };
type Mover = (of: { line: string; route: Route; cycle: CycleRecord | null; attempt: string }) => Promise<Attempt>;

const [url = '', name = '', moves = '', ...lines] = process.argv.slice(2);
const db = openDatabase(url, { max: 1 });
const report: MoverReport = { made: [], refused: {}, unequal: [] };

/** What is tried, as often as it is named here. */
const MOVES: [kind: string, times: number, mover: Mover][] = [
  ['shadow or canary', 40, putIntoRoute],
  ['promote', 6, promoteCanary],
  ['settle', 6, settleWatch],
  ['cycle rollback', 2, ({ cycle, attempt }) => rollBack(cycle, attempt)],
  [
    'late cycle rollback',
    1,
    async ({ line, attempt }) => rollBack(anyOf(await listCycles(db, { line, limit: 4 })), attempt),
  ],
  ['operator rollback', 1, ({ line, attempt }) => operate({ line, attempt })],
  [
    'operator rollback to',
    1,
    async ({ line, attempt }) => operate({ line, attempt, toVersion: await onceStable(db, line) }),
  ],
];
const CHOICE = MOVES.flatMap((move) => Array<(typeof MOVES)[number]>(move[1]).fill(move));

process.once('message', () => {
  void work().then(async () => {
    process.send?.(report);
    await db.end();
    process.disconnect();
  });
});
process.send?.('ready');

async function work(): Promise<void> {
  for (let turn = 0; report.made.length < Number(moves); turn += 1) {
    const line = anyOf(lines);
    const attempt = `${name}/${String(turn)}`;
    const cycle = (await openCycle(db, line)) ?? (await begin(line, attempt));
    if (cycle?.candidate === null && Math.random() < 0.8) {
      // Another process is registering it.
      await sleep(5);
      continue;
    }
    const [kind, , mover] = anyOf(CHOICE);
    const of = { line, route: await currentRoute(db, line), cycle, attempt };
    const result = await mover(of);
    if (result.epoch === null) {
      report.refused[result.kind] = (report.refused[result.kind] ?? 0) + 1;
      continue;
    }
    report.made.push({ kind, line, epoch: result.epoch, attempt });
    if (Math.random() > 0.05) continue;
    const again = await mover(of);
    if (again.epoch !== null && again.epoch !== result.epoch) report.unequal.push(attempt);
  }
}

/** Begins a cycle, or finds that another process has; null when that one is over, too. */
async function begin(line: string, cycleId: string): Promise<CycleRecord | null> {
  const claimed = await tryClaim(db, { line, cycleId });
  if (claimed.kind === 'claimed') await register(db, cycleId, claimed.cycle.parent, { line });
  return openCycle(db, line);
}

async function putIntoRoute(of: Parameters<Mover>[0]): Promise<Attempt> {
  const { line, route, cycle, attempt } = of;
  if (cycle?.candidate == null) return { kind: 'noCandidate', epoch: null };
  // In a watch it is refused, which is worth a try now and then.
  if (route.holdbackVersion !== null && Math.random() < 0.8) return settleWatch(of);
  const { candidate, cycleId } = cycle;
  const share = Math.round(1 + Math.random() * 80) / 100;
  const next = anyOf([
    alone(route.stable),
    shadow(route.stable, candidate),
    canary(route.stable, candidate, share),
    canary(route.stable, candidate, share),
  ]);
  const move = { line, cycleId, next, expectedEpoch: route.epoch, leaseMs: LEASE_MS };
  return moved(await moveRoute(db, { ...move, who: name, why: attempt, effectKey: attempt }));
}

/** Without a canary it puts one into the route. */
async function promoteCanary(of: Parameters<Mover>[0]): Promise<Attempt> {
  const { route, cycle, attempt } = of;
  if (cycle?.candidate == null || route.canary !== cycle.candidate) return putIntoRoute(of);
  const { cycleId, candidate: version } = cycle;
  const request = { cycleId, version, expectedEpoch: route.epoch, effectKey: attempt, alert: alert(attempt) };
  const holdback = Math.random() < 0.7 ? 0.1 : 0;
  return moved(await promote(db, { ...request, holdback, who: name, why: attempt }));
}

/** Where nothing is watched it promotes. */
async function settleWatch(of: Parameters<Mover>[0]): Promise<Attempt> {
  const { route, cycle, attempt } = of;
  if (cycle?.candidate == null || route.holdbackVersion === null) return promoteCanary(of);
  const request = { cycleId: cycle.cycleId, expectedEpoch: route.epoch, reasons: [], effectKey: attempt };
  return moved(await settle(db, { ...request, who: name, why: attempt }));
}

async function rollBack(cycle: CycleRecord | null, attempt: string): Promise<Attempt> {
  if (cycle === null) return { kind: 'noCycle', epoch: null };
  const { route, alreadyDone } = await rollbackCycle(db, {
    cycleId: cycle.cycleId,
    who: name,
    why: attempt,
    reasons: [],
    outcome: 'rolledBack',
    effectKey: attempt,
    alert: alert(attempt),
  });
  const first = report.made.some((made) => made.attempt === attempt);
  return alreadyDone && !first ? { kind: 'alreadyDone', epoch: null } : { kind: 'moved', epoch: route.epoch };
}

async function operate({
  attempt,
  ...request
}: {
  line: string;
  attempt: string;
  toVersion?: number;
}): Promise<Attempt> {
  try {
    const rollback = { ...request, who: name, why: attempt, effectKey: attempt, alert: alert(attempt) };
    return { kind: 'moved', epoch: (await operatorRollback(db, rollback)).route.epoch };
  } catch (error) {
    // The one answer to an operator that is no value: there is nothing to go back to.
    if (error instanceof Error && /has no earlier stable/.test(error.message))
      return { kind: 'noEarlier', epoch: null };
    throw error;
  }
}

async function onceStable(on: Database, line: string): Promise<number> {
  const { rows } = await on.query<{ stable: number }>('select distinct stable from routes where line = $1', [line]);
  return anyOf(rows).stable;
}

function moved(result: RouteMove): Attempt {
  return result.kind === 'moved' ? { kind: 'moved', epoch: result.route.epoch } : { kind: result.kind, epoch: null };
}

function anyOf<T>(choices: readonly T[]): T {
  const chosen = choices[Math.floor(Math.random() * choices.length)];
  if (chosen === undefined) throw new Error('there is nothing to choose from');
  return chosen;
}
