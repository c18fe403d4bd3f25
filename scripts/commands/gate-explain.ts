import { readMetrics, type RecordedGate, type RecordedMetrics } from '../../data/card/recorded.ts';
import { listCycles, readCycle } from '../../store/cycles.ts';
import type { Database } from '../../store/database.ts';
import { listDecisions, type Decision } from '../../store/decisions.ts';
import { listLines } from '../../store/lines.ts';
import { routeHistory } from '../../store/routes.ts';
import type { CycleRecord, Route, VersionRecord } from '../../store/types.ts';
import { readVersion } from '../../store/versions.ts';
import { describeGate, describeWait } from '../../workflows/gate-summary.ts';
import { type CycleStatus, statusQuery } from '../../workflows/messages.ts';
import type { Access } from './access.ts';
import { describeMeasured } from './gate-figures.ts';
import { type CommandResult, table, time } from './run-command.ts';

/** A cycle that does not answer must not keep an operator waiting. */
const QUERY_TIMEOUT_MS = 5_000;
/** More moves than a ramp has. */
const ROUTES_LOOKED_AT = 1_000;

/** Everything on record about one cycle's verdict. */
interface Explained {
  cycle: CycleRecord;
  /** Null when the cycle ended, or is, before its version is registered. */
  version: VersionRecord | null;
  recorded: RecordedMetrics | null;
  decisions: Decision[];
  /** Moves of the route that the cycle made, oldest first. */
  routes: Route[];
  /** What the running cycle says; null when it is over, or does not answer. */
  status: CycleStatus | null;
}

/** `gate explain`: of a cycle by its id, or of a line's last one. */
export async function explainGate(access: Access, wanted: string): Promise<CommandResult> {
  const db = await access.database();
  const cycle = await findCycle(db, wanted);
  const { line, cycleId, candidate } = cycle;
  const version = candidate === null ? null : await readVersion(db, { line, version: candidate });
  const decisions = version === null ? [] : await listDecisions(db, { line, version: version.version });
  const explained: Explained = {
    ...{ cycle, version },
    recorded: version === null ? null : readMetrics(version.metrics),
    decisions: decisions.filter((decision) => decision.cycleId === cycleId),
    routes: (await routeHistory(db, { line, cycleId, limit: ROUTES_LOOKED_AT })).reverse(),
    status: cycle.closedAt === null ? await askCycle(access, cycle) : null,
  };
  return { data: dataOf(explained), text: describe(explained) };
}

async function findCycle(db: Database, wanted: string): Promise<CycleRecord> {
  if ((await listLines(db)).some(({ line }) => line === wanted)) {
    const [last] = await listCycles(db, { line: wanted, limit: 1 });
    if (last === undefined) throw new Error(`${wanted} has had no cycle yet`);
    return last;
  }
  return readCycle(db, wanted).catch((error: unknown) => {
    if (!(error instanceof Error) || !error.message.startsWith('no cycle')) throw error;
    throw new Error(`no cycle and no model line is called "${wanted}": "freshet status LINE --json" lists its cycles`);
  });
}

async function askCycle(access: Access, { workflowId, runId }: CycleRecord): Promise<CycleStatus | null> {
  try {
    const client = await access.temporal();
    const handle = client.workflow.getHandle(workflowId, runId);
    return await client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () => handle.query(statusQuery));
  } catch {
    // What is on record can be told without it.
    return null;
  }
}

function dataOf({ cycle, version, decisions, routes, status }: Explained): unknown {
  const { config: _config, ...rest } = cycle;
  return {
    cycle: rest,
    version: version?.version ?? null,
    gate: version?.metrics['gate'] ?? null,
    evaluation: version?.metrics['evaluation'] ?? null,
    extensions: version?.metrics['extensions'] ?? [],
    ...{ decisions, routes },
    running: status === null ? null : { phase: status.phase, gate: status.gate, waitingForRows: status.waitingForRows },
  };
}

function describe(explained: Explained): string {
  const { cycle, version, recorded } = explained;
  const span = `${time(cycle.startedAt)} to ${cycle.closedAt === null ? 'now' : time(cycle.closedAt)}`;
  const head = `${cycle.line}, cycle ${cycle.cycleId} (${span}): ${cycle.outcome ?? 'running'}`;
  if (version === null || recorded === null) return [head, ...beforeTheVerdict(explained)].join('\n');
  const { gate, evaluation } = recorded;
  const verdict = gate === null ? ['The verdict is not on record.'] : describeVerdict(gate);
  const figures =
    evaluation.kind === 'measured'
      ? describeMeasured(evaluation.evaluation, { version: version.version, metric: cycle.config.gate.metric })
      : [evaluation.kind === 'older' ? 'It was measured by an older build, in another form.' : 'Nothing was measured.'];
  return [head, '', ...verdict, '', ...figures, '', 'What happened', ...whatFollowed(explained)].join('\n');
}

/** Where and why a cycle ended that has no version, or where it is. */
function beforeTheVerdict({ cycle, status }: Explained): string[] {
  const last = status?.phase ?? cycle.phases.at(-1)?.phase ?? 'begin';
  const reasons = cycle.reasons.map(({ code, message }) => `  ${code}: ${message}`);
  if (cycle.outcome !== null)
    return [`It ended in phase ${last}, before a final verdict, ${cycle.outcome} because:`, ...reasons];
  return [
    `It is in phase ${last}; there is no final verdict yet.`,
    ...(status?.gate == null ? [] : [`  so far: ${describeGate(status.gate)}`, ...status.gate.reasons.map(bullet)]),
    ...(status?.waitingForRows == null ? [] : [`  waits for rows: ${describeWait(status.waitingForRows)}`]),
  ];
}

function describeVerdict({ kind, reasons, rules }: RecordedGate): string[] {
  const told = [`The gate said ${kind}`, ...reasons.map(bullet)];
  if (rules.length === 0) return told;
  const rows = rules.map(({ rule, kind: said, reason }) => [rule, said, reason.message]);
  return [...told, '', table([['rule', 'verdict', 'why'], ...rows])];
}

function whatFollowed({ cycle, recorded, decisions, routes, status }: Explained): string[] {
  const said = [
    ...(recorded?.extensions ?? []).map(({ attempt, message, snapshotId }) => {
      const of = snapshotId === null ? '' : ` (snapshot ${snapshotId.slice(0, 12)})`;
      return `extension ${String(attempt)} of the holdout: ${message}${of}`;
    }),
    ...(status?.waitingForApproval == null
      ? []
      : [`asked: waits for approval until ${time(status.waitingForApproval.until)}`]),
    ...decisions.map(({ kind, who, why, at }) => `${time(at)}: asked, and ${kind} by ${who}: ${why}`),
    ...routes.map(({ epoch, at, why }) => `${time(at)}: epoch ${String(epoch)}, ${why}`),
    ...(cycle.closedAt === null || cycle.outcome === null
      ? []
      : [`${time(cycle.closedAt)}: ${cycle.outcome}${cycle.reasons[0] ? `: ${cycle.reasons[0].message}` : ''}`]),
  ];
  return said.length === 0 ? ['  nothing yet'] : said.map((line) => `  ${line}`);
}

function bullet({ message }: { message: string }): string {
  return `  - ${message}`;
}
