import type { Command } from 'commander';
import { describeContamination } from '../../policy/contamination.ts';
import { readLine } from '../../store/lines.ts';
import { findSnapshot } from '../../store/snapshots.ts';
import {
  listTaints,
  removeTaint,
  rollbackAdvice,
  taintImpact,
  taintSnapshot,
  type Taint,
  type TaintImpact,
} from '../../store/taints.ts';
import { defaultWho, runs, table, time } from './run-command.ts';

interface Signed {
  who: string;
  reason: string;
}

/** `taint SNAPSHOT`, `taint list`, `taint remove SNAPSHOT`. */
export function registerTaintCommands(program: Command): void {
  const taint = program.command('taint').description('snapshots whose data was found bad later');
  runs(
    signed(
      taint
        .command('add', { isDefault: true })
        .description("mark a snapshot's data as bad: versions with it are parents no more (`add` may be left out)")
        .argument('<snapshot>', 'its id, or the first 8 digits of it or more'),
    ),
    {
      example: 'taint 3f9c2a71 --reason "the click table was loaded by half"',
      work: async (access, prefix: string, { who, reason }: Signed) => {
        const db = await access.database();
        const snapshotId = await findSnapshot(db, prefix);
        const { taint: made, new: isNew, impact } = await taintSnapshot(db, { snapshotId, who, reason });
        const head = isNew
          ? `snapshot ${short(made)} of ${made.line} is tainted: ${made.reason}`
          : `snapshot ${short(made)} of ${made.line} is tainted already, since ${time(made.at)} by ${made.who}: ${made.reason}`;
        return { data: { taint: made, new: isNew, impact }, text: [head, ...describeImpact(impact)].join('\n') };
      },
    },
  );

  runs(
    signed(
      taint
        .command('remove')
        .description('end a taint; that it was there stays on record')
        .argument('<snapshot>', 'its id, or the first 8 digits of it or more'),
    ),
    {
      example: 'taint remove 3f9c2a71 --reason "it was the dashboard that was wrong"',
      work: async (access, prefix: string, { who, reason }: Signed) => {
        const db = await access.database();
        const snapshotId = await findSnapshot(db, prefix);
        const { taint: ended, impact } = await removeTaint(db, { snapshotId, who, reason });
        const head = `snapshot ${short(ended)} of ${ended.line} is tainted no more`;
        return { data: { taint: ended, impact }, text: [head, ...describeImpact(impact)].join('\n') };
      },
    },
  );

  runs(
    taint
      .command('list')
      .description('tainted snapshots and the versions that have their data')
      .argument('[line]')
      .option('--all', 'also the taints that were removed'),
    {
      example: 'taint list news-feed',
      work: async (access, line: string | undefined, { all = false }: { all?: boolean }) => {
        const db = await access.database();
        if (line !== undefined) await readLine(db, line);
        const taints = await listTaints(db, { line: line ?? null, removed: all });
        const inForce = taints.filter(({ removedAt }) => removedAt === null);
        const impacts = await Promise.all(
          [...new Set(inForce.map((found) => found.line))].sort().map((name) => taintImpact(db, name)),
        );
        return { data: { taints, impacts }, text: describeList(taints, impacts) };
      },
    },
  );
}

function signed(command: Command): Command {
  return command
    .requiredOption('--reason <text>', 'why; recorded')
    .option('--who <name>', 'who says so; recorded', defaultWho());
}

function describeList(taints: readonly Taint[], impacts: readonly TaintImpact[]): string {
  if (taints.length === 0) return 'no snapshot is tainted';
  const rows = taints.map((found) => [
    short(found),
    found.line,
    time(found.at),
    found.who,
    found.removedAt === null
      ? found.reason
      : `${found.reason} (removed ${time(found.removedAt)} by ${found.removedBy ?? '?'}: ${found.removedReason ?? ''})`,
  ]);
  const lines = impacts.map((impact) => [`${impact.line}:`, ...describeImpact(impact)].join('\n'));
  return [table([['snapshot', 'line', 'tainted', 'by', 'reason'], ...rows]), ...lines].join('\n\n');
}

/** What follows from the taints of a line, each with what to do. */
function describeImpact(impact: TaintImpact): string[] {
  const { line, contaminated, stable, next, runningCycle } = impact;
  if (contaminated.length === 0 && runningCycle === null) return ['no version has tainted data'];
  const rows = contaminated.map((found) => [String(found.version), found.status, describeContamination(found)]);
  return [
    ...(rows.length === 0 ? [] : [table([['version', 'status', 'why it is no parent'], ...rows])]),
    next.reason === null ? 'the next cycle starts from the stable version as before' : `the next cycle: ${next.reason}`,
    ...(contaminated.some(({ version }) => version === stable)
      ? [`VERSION ${String(stable)} SERVES. ${rollbackAdvice(impact)}`]
      : []),
    ...(runningCycle === null
      ? []
      : [`cycle ${runningCycle} is running with it; to end it: freshet abort ${line} --reason "..."`]),
  ];
}

function short({ snapshotId }: Taint): string {
  return snapshotId.slice(0, 12);
}
