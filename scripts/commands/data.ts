import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { snapshotReport } from '../../activities/snapshot-report.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { readLine } from '../../store/lines.ts';
import { findSnapshot, listSnapshots } from '../../store/snapshots.ts';
import { registerEventLogCommand } from './event-log.ts';
import { runs, table, time } from './run-command.ts';

/** `data report SNAPSHOT`, `data snapshots LINE`, `data log`. */
export function registerDataCommands(program: Command): void {
  const data = program.command('data').description('the data that cycles trained on');

  runs(
    data
      .command('report')
      .description('one self-contained HTML page: the verdict, each check, distributions old over new')
      .argument('<snapshot>', 'its id, or the first 8 digits of it or more')
      .option('--out <file>', 'where to write it; data-report-SNAPSHOT.html here when left out'),
    {
      example: 'data report 3f9c2a71 --out report.html',
      work: async (access, prefix: string, { out }: { out?: string }) => {
        const db = await access.database();
        const snapshotId = await findSnapshot(db, prefix);
        const artifacts = openLocalArtifacts((await access.installation()).artifacts);
        const file = resolve(out ?? `data-report-${snapshotId.slice(0, 12)}.html`);
        const page = await snapshotReport({ db, artifacts }, snapshotId);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, page);
        return { data: { snapshotId, file }, text: `written to ${file}: open it in a browser` };
      },
    },
  );

  runs(
    data
      .command('snapshots')
      .description('the snapshots of a model line, newest first, with what the checks said')
      .argument('<line>')
      .option('--limit <n>', 'how many', Number, 20),
    {
      example: 'data snapshots news-feed',
      work: async (access, line: string, { limit }: { limit: number }) => {
        const db = await access.database();
        await readLine(db, line);
        const snapshots = await listSnapshots(db, { line, limit });
        const rows = snapshots.map(({ snapshotId, cutoffMs, verdict, blocking }) => [
          snapshotId.slice(0, 12),
          time(new Date(cutoffMs)),
          verdict ?? 'not checked',
          blocking.join(', '),
        ]);
        const text =
          rows.length === 0
            ? `${line} has no snapshot yet`
            : table([['snapshot', 'data up to', 'checks', 'blocked by'], ...rows]);
        return { data: { line, snapshots }, text };
      },
    },
  );

  registerEventLogCommand(data);
}
