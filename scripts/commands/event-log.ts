import { join } from 'node:path';
import type { Command } from 'commander';
import { formatDuration } from '../../config/duration.ts';
import { checkLog, describeLog, type LogFinding, type LogReport } from '../../data/event-log/inspect.ts';
import { planLogRetention } from '../../data/event-log/retention.ts';
import { linesOfLog } from '../../workers/log-keeping.ts';
import { readEnvironment } from '../../workers/environment.ts';
import { installationDir } from '../stack/installation.ts';
import type { Access } from './access.ts';
import { runs, table, time } from './run-command.ts';
import { filesOf, size } from './sizes.ts';

/** What retention would do now. */
interface RetentionPreview {
  keep: string;
  hours: number;
  bytes: number;
}

/** `data log`. */
export function registerEventLogCommand(data: Command): void {
  runs(
    data
      .command('log')
      .description(
        'what the event log holds: hours, torn records, what is not compacted, and what retention would remove',
      )
      .option('--check', 'read all of it: which segments are torn, which compacted files are not what was written'),
    {
      example: 'data log --check',
      work: async (access, { check = false }: { check?: boolean }) => {
        const root = access.env['FRESHET_LOG_ROOT'] ?? join(installationDir(access.env), 'events');
        const report = await describeLog(root);
        const retention = await preview(access, root);
        const findings = check ? await checkLog(root) : null;
        return {
          data: { ...report, retention, findings },
          text: describe(report, { retention, findings }),
          ok: findings === null || findings.length === 0,
        };
      },
    },
  );
}

async function preview(access: Access, root: string): Promise<RetentionPreview> {
  const { databaseUrl } = await access.installation();
  const env = readEnvironment({ ...access.env, DATABASE_URL: databaseUrl });
  const lines = await linesOfLog(await access.database());
  const plan = await planLogRetention({ root, lines, nowMs: Date.now(), keepMs: env.FRESHET_LOG_KEEP });
  const going = plan.filter(({ keep }) => keep === null);
  return {
    keep: formatDuration(env.FRESHET_LOG_KEEP),
    hours: going.length,
    bytes: going.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

function describe(
  { root, kinds, unpublished }: LogReport,
  { retention, findings }: { retention: RetentionPreview; findings: LogFinding[] | null },
): string {
  const header = ['', 'since', 'hours', 'compacted', 'rows', 'torn', 'size', 'segments', 'size'];
  const rows = kinds.map(({ kind, oldestMs, hours, compacted, segments }) => [
    ...[kind, oldestMs === null ? '-' : time(new Date(oldestMs)), String(hours), String(compacted.hours)],
    ...[String(compacted.rows), String(compacted.torn), size(compacted.bytes)],
    ...[String(segments.files), size(segments.bytes)],
  ]);
  const waiting = unpublished.map(
    ({ process, where, files, bytes }) =>
      `${process} has ${filesOf(files)} (${size(bytes)}) ${where === 'held' ? 'that a hold keeps back' : 'in its spool, which it publishes when it starts'}`,
  );
  return [
    root,
    table([header, ...rows]),
    '',
    ...waiting,
    `retention (FRESHET_LOG_KEEP ${retention.keep}) would remove ${String(retention.hours)} hours, ${size(retention.bytes)}`,
    ...(findings === null
      ? []
      : findings.length === 0
        ? ['every record is whole, every compacted file is what was written']
        : findings.map(({ path, problem }) => `${path}: ${problem}`)),
  ].join('\n');
}
