import type { Command } from 'commander';
import { openLocalInventory } from '../../store/artifact-inventory.ts';
import { readLine } from '../../store/lines.ts';
import { listRemoved } from '../../store/removed-artifacts.ts';
import {
  applyRetention,
  planRetention,
  STORAGE_KINDS,
  type PlannedFile,
  type StorageKind,
} from '../../store/retention.ts';
import type { Access } from './access.ts';
import { runs, table, time } from './run-command.ts';
import { filesOf, size } from './sizes.ts';

/** Files and their bytes. */
interface Amount {
  files: number;
  bytes: number;
}

interface LineStorage {
  line: string;
  kinds: Record<StorageKind, Amount>;
  /** All kinds together; a file of two kinds counts once. */
  all: Amount;
  /** Of these, what other lines refer to, too. */
  shared: Amount;
  /** What retention would remove now. */
  goes: Amount;
}

/** `storage`, `retention`. */
export function registerStorageCommands(program: Command): void {
  runs(
    program
      .command('storage')
      .description(
        'what the files of versions and snapshots take, by model line and kind, and what retention would free',
      )
      .argument('[line]', 'all lines when left out'),
    {
      example: 'storage news-feed',
      work: async (access, line: string | undefined) => {
        const db = await access.database();
        if (line !== undefined) await readLine(db, line);
        const files = await plan(access);
        const removed = await listRemoved(db, line);
        const lines = [...new Set(files.flatMap(({ owners }) => owners.map((owner) => owner.line)))].sort();
        const data = {
          lines: lines.filter((name) => line === undefined || name === line).map((name) => storageOf(name, files)),
          // Files of several lines count once.
          total: amount(files),
          goes: amount(files.filter(({ verdict }) => verdict === 'goes')),
          unreferenced: amount(files.filter(({ owners }) => owners.length === 0)),
          orphans: amount(files.filter(({ verdict }) => verdict === 'orphan')),
          removed: { files: removed.length, bytes: removed.reduce((sum, { bytes }) => sum + bytes, 0) },
        };
        return { data, text: describeStorage(data, line) };
      },
    },
  );

  runs(
    program
      .command('retention')
      .description('which files of a model line go and why the others stay; removes nothing without --apply')
      .argument('<line>')
      .option('--apply', 'remove what goes, as the data worker does each hour')
      .option('--orphans', 'also what nobody refers to and is older than a week, of all lines')
      .option('--all', 'list what stays, too'),
    {
      example: 'retention news-feed --apply',
      work: async (access, line: string, options: { apply?: boolean; orphans?: boolean; all?: boolean }) => {
        const db = await access.database();
        await readLine(db, line);
        const { apply = false, orphans = false, all = false } = options;
        if (apply) return applied(access, { line, orphans });
        const files = (await plan(access)).filter((file) =>
          file.owners.length === 0 ? orphans : file.owners.some((owner) => owner.line === line),
        );
        const data = { line, applied: false, files: files.map((file) => ({ ...file, why: whyOf(file) })) };
        return { data, text: describePlan(files, { line, all, orphans }) };
      },
    },
  );
}

async function plan(access: Access): Promise<PlannedFile[]> {
  const inventory = openLocalInventory((await access.installation()).artifacts);
  return planRetention({ db: await access.database(), inventory });
}

async function applied(
  access: Access,
  { line, orphans }: { line: string; orphans: boolean },
): Promise<{ data: unknown; text: string }> {
  const inventory = openLocalInventory((await access.installation()).artifacts);
  const result = await applyRetention({ db: await access.database(), inventory }, { line, orphans });
  if (result.kind === 'busy') throw new Error('a data worker applies retention right now: try again in a minute');
  const { removed, bytes } = result;
  const rows = removed.map((file) => [file.name.slice(0, 12), size(file.bytes), whatOf(file)]);
  const text = [
    ...(rows.length === 0 ? [] : [table([['removed', 'size', 'what'], ...rows]), '']),
    `${filesOf(rows.length)} removed, ${size(bytes)}`,
  ];
  return { data: { line, applied: true, removed, bytes }, text: text.join('\n') };
}

function storageOf(line: string, files: readonly PlannedFile[]): LineStorage {
  const own = files.filter(({ owners }) => owners.some((owner) => owner.line === line));
  const kindOf = ({ owners }: PlannedFile): StorageKind =>
    STORAGE_KINDS.find((kind) => owners.some((owner) => owner.line === line && owner.kind === kind)) ?? 'other';
  const kinds = Object.fromEntries(
    STORAGE_KINDS.map((kind) => [kind, amount(own.filter((file) => kindOf(file) === kind))]),
  ) as Record<StorageKind, Amount>;
  return {
    line,
    kinds,
    all: amount(own),
    shared: amount(own.filter(({ owners }) => owners.some((owner) => owner.line !== line))),
    goes: amount(own.filter(({ verdict }) => verdict === 'goes')),
  };
}

function amount(files: readonly PlannedFile[]): Amount {
  return { files: files.length, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
}

function describeStorage(
  of: { lines: LineStorage[]; total: Amount; goes: Amount; orphans: Amount; unreferenced: Amount; removed: Amount },
  line: string | undefined,
): string {
  if (of.lines.length === 0) return line === undefined ? 'no model line has files' : `${line} has no files`;
  const header = ['line', ...STORAGE_KINDS, 'all', 'files', 'shared', 'retention frees'];
  const rows = of.lines.map(({ line: name, kinds, all, shared, goes }) => [
    ...[name, ...STORAGE_KINDS.map((kind) => size(kinds[kind].bytes))],
    ...[size(all.bytes), String(all.files), size(shared.bytes), size(goes.bytes)],
  ]);
  const sum = (what: Amount): string => `${size(what.bytes)} in ${filesOf(what.files)}`;
  return [
    table([header, ...rows]),
    '',
    `all lines          ${sum(of.total)}, shared ones once; retention would free ${sum(of.goes)}`,
    `nobody refers to   ${sum(of.unreferenced)}, older than a week ${sum(of.orphans)} (freshet retention LINE --apply --orphans)`,
    `removed so far     ${sum(of.removed)}${line === undefined ? '' : ` of ${line}`}`,
  ].join('\n');
}

function describePlan(files: readonly PlannedFile[], of: { line: string; all: boolean; orphans: boolean }): string {
  const going = files.filter(({ verdict }) => verdict === 'goes' || verdict === 'orphan');
  const listed = of.all ? files : files.filter(({ verdict }) => verdict !== 'kept');
  const rows = listed.map((file) => [
    file.name.slice(0, 12),
    size(file.bytes),
    time(file.modifiedAt),
    file.verdict,
    whatOf(file),
    whyOf(file),
  ]);
  const { bytes } = amount(going);
  const kept = files.filter(({ verdict }) => verdict === 'kept').length;
  return [
    ...(rows.length === 0 ? [] : [table([['file', 'size', 'written', '', 'what', 'why'], ...rows]), '']),
    `${filesOf(going.length)} would go (${size(bytes)}), ${String(kept)} stay${of.all ? '' : ' (--all lists them)'}; nothing was removed` +
      (going.length === 0 ? '' : `: freshet retention ${of.line} --apply${of.orphans ? ' --orphans' : ''}`),
  ].join('\n');
}

function whatOf({ owners }: PlannedFile): string {
  const [first] = owners;
  if (first === undefined) return 'nobody refers to it';
  return owners.length === 1 ? first.what : `${first.what} and ${String(owners.length - 1)} more`;
}

function whyOf({ verdict, owners }: PlannedFile): string {
  switch (verdict) {
    case 'kept': {
      const needs = owners.find(({ keep }) => keep !== null);
      return needs === undefined ? '' : `${needs.what} (${needs.line}): ${needs.keep ?? ''}`;
    }
    case 'goes':
      return 'nothing that stays needs it';
    case 'young':
      return owners.length === 0 ? 'younger than a week' : 'goes once it is a day old';
    case 'orphan':
      return 'older than a week';
  }
}
