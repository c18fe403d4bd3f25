import type { Command } from 'commander';
import { z } from 'zod';
import { count, difference } from '../../policy/figures.ts';
import { listAliases, removeAlias, resolveVersion, setAlias, type Alias } from '../../store/aliases.ts';
import type { Database } from '../../store/database.ts';
import { readAncestry, readVersionFacts, type VersionFacts } from '../../store/lineage.ts';
import { readLine } from '../../store/lines.ts';
import { listPins, pinVersion, unpinVersion, type Pin } from '../../store/pins.ts';
import { describeRemoved } from '../../store/removed-artifacts.ts';
import type { VersionRecord } from '../../store/types.ts';
import { listVersions } from '../../store/versions.ts';
import { changesBetween } from '../registry/changes.ts';
import { compareVersions, describeComparison, relate, type Relation } from '../registry/compare-versions.ts';
import { describeStep, describeVersion, type ChangedVersion } from '../registry/describe-version.ts';
import { defaultWho, positiveInteger, runs, table, time } from './run-command.ts';

interface Signed {
  who: string;
  reason: string;
}

const VERSION = 'a number, an alias, stable, canary, shadow or latest';

/** `versions LINE`, `versions show|pin|unpin`, `lineage`, `diff`, `alias set|remove|list`. */
export function registerRegistryCommands(program: Command): void {
  const versions = program.command('versions').description('the versions of a model line');
  registerVersions(versions);
  registerPins(versions);
  registerDescent(program);
  registerAliases(program.command('alias').description('names for versions, which stay where they are put'));
}

function registerVersions(versions: Command): void {
  runs(
    versions
      .command('list', { isDefault: true })
      .description('the newest of them (`list` may be left out)')
      .argument('<line>')
      .option('--limit <n>', 'how many', positiveInteger, 100),
    {
      example: 'versions news-feed',
      work: async (access, line: string, { limit }: { limit: number }) => {
        const db = await access.database();
        await readLine(db, line);
        const [found, aliases, pins] = [
          await listVersions(db, line, { limit }),
          await listAliases(db, { line }),
          await listPins(db, { line }),
        ];
        const older = found.at(-1)?.version ?? 0;
        const rest = older === 0 ? '' : `\n${older} older; see --limit`;
        return {
          data: { line, versions: found, aliases, pins },
          text: `${describeVersions(found, { aliases, pins })}${rest}`,
        };
      },
    },
  );

  runs(
    versions
      .command('show')
      .description('everything that is on record of one version')
      .argument('<line>')
      .argument('<version>', VERSION),
    {
      example: 'versions show news-feed stable',
      work: async (access, line: string, name: string) => {
        const db = await access.database();
        const version = await resolved(db, line, name);
        const parent = (await readAncestry(db, { line, version })).slice(1, 2);
        const [facts] = withChanges(await readVersionFacts(db, { line, versions: [version, ...parent] }));
        if (facts === undefined) throw new Error(`line "${line}" has no version ${version}`);
        return { data: facts, text: describeVersion(facts) };
      },
    },
  );
}

function registerPins(versions: Command): void {
  runs(
    signed(
      versions
        .command('pin')
        .description('keep the artifacts of a version, whatever retention says')
        .argument('<line>')
        .argument('<version>', VERSION),
    ),
    {
      example: 'versions pin news-feed 12 --reason "the reference of the autumn test"',
      work: async (access, line: string, name: string, { who, reason }: Signed) => {
        const db = await access.database();
        const version = await resolved(db, line, name);
        const { pin, new: isNew, removed } = await pinVersion(db, { line, version, who, why: reason });
        const head = isNew
          ? `version ${version} of ${line} is pinned: its artifacts are kept`
          : `version ${version} of ${line} is pinned already, since ${time(pin.at)} by ${pin.who}: ${pin.why}`;
        const gone = removed.map((artifact) => `GONE BEFORE: ${describeRemoved(artifact)}`);
        return { data: { pin, new: isNew, removed }, text: [head, ...gone].join('\n') };
      },
    },
  );

  runs(signed(versions.command('unpin').description('end a pin').argument('<line>').argument('<version>', VERSION)), {
    example: 'versions unpin news-feed 12 --reason "the test is over"',
    work: async (access, line: string, name: string, { who, reason }: Signed) => {
      const db = await access.database();
      const version = await resolved(db, line, name);
      const pin = await unpinVersion(db, { line, version, who, why: reason });
      return { data: { pin }, text: `version ${version} of ${line} is pinned no more: retention decides` };
    },
  });
}

function registerDescent(program: Command): void {
  runs(
    program
      .command('lineage')
      .description(
        'where a version came from: its parents down to the one trained from scratch, and what became of each',
      )
      .argument('<line>')
      .argument('<version>', VERSION)
      .option('--last <n>', 'only the newest of them', positiveInteger),
    {
      example: 'lineage news-feed stable',
      work: async (access, line: string, name: string, { last }: { last?: number }) => {
        const db = await access.database();
        const version = await resolved(db, line, name);
        const ancestry = await readAncestry(db, { line, version });
        const all = withChanges(await readVersionFacts(db, { line, versions: ancestry }));
        const chain = all.slice(0, last);
        const chained = `lineage of version ${version} of ${line}: ${ancestry.join(' <- ')}`;
        const older = all.length - chain.length;
        const rest = older === 0 ? [] : [`${count(older)} older ones are left out`];
        return { data: { line, version, chain }, text: [chained, ...chain.map(describeStep), ...rest].join('\n\n') };
      },
    },
  );

  runs(
    program
      .command('diff')
      .description('what one version was made with that another was not, and how their metrics compare')
      .argument('<line>')
      .argument('<a>', VERSION)
      .argument('<b>', VERSION),
    {
      example: 'diff news-feed 11 stable',
      work: async (access, line: string, a: string, b: string) => {
        const db = await access.database();
        const [from, to] = [await resolved(db, line, a), await resolved(db, line, b)];
        const relation = relate(
          await readAncestry(db, { line, version: from }),
          await readAncestry(db, { line, version: to }),
        );
        const path = relation.kind === 'descends' ? relation.path : [];
        const facts = await readVersionFacts(db, { line, versions: [from, to, ...path] });
        const of = (version: number): VersionFacts => {
          const found = facts.find((one) => one.version.version === version);
          if (found === undefined) throw new Error(`line "${line}" has no version ${version}`);
          return found;
        };
        const related: Relation = relation.kind === 'descends' ? { kind: 'descends', path: path.map(of) } : relation;
        const comparison = compareVersions(of(from), of(to), related);
        return { data: comparison, text: describeComparison(comparison) };
      },
    },
  );
}

function registerAliases(aliases: Command): void {
  runs(
    signed(
      aliases
        .command('set')
        .description('put an alias on a version; it leaves the one that has it')
        .argument('<line>')
        .argument('<alias>', 'a small letter, then small letters, digits or hyphens')
        .argument('<version>', VERSION),
    ),
    {
      example: 'alias set news-feed baseline 12 --reason "what the autumn test compares with"',
      work: async (access, line: string, alias: string, name: string, { who, reason }: Signed) => {
        const db = await access.database();
        const version = await resolved(db, line, name);
        const result = await setAlias(db, { line, alias, version, who, why: reason });
        const { previous } = result;
        const before = previous === null ? '' : ` (it was version ${previous})`;
        const text =
          previous === version
            ? `${alias} of ${line} is version ${version} already, since ${time(result.alias.at)} by ${result.alias.who}: ${result.alias.why}`
            : `${alias} of ${line} is version ${version}${before}`;
        return { data: result, text };
      },
    },
  );

  runs(signed(aliases.command('remove').description('end an alias').argument('<line>').argument('<alias>')), {
    example: 'alias remove news-feed baseline --reason "the test is over"',
    work: async (access, line: string, alias: string, { who, reason }: Signed) => {
      const db = await access.database();
      await readLine(db, line);
      const removed = await removeAlias(db, { line, alias, who, why: reason });
      return { data: { removed }, text: `${line} has no alias ${alias} any more; it was version ${removed.version}` };
    },
  });

  runs(aliases.command('list').description('the aliases of a model line').argument('<line>'), {
    example: 'alias list news-feed',
    work: async (access, line: string) => {
      const db = await access.database();
      await readLine(db, line);
      const found = await listAliases(db, { line });
      const rows = found.map(({ alias, version, at, who, why }) => [alias, String(version), time(at), who, why]);
      const text =
        rows.length === 0 ? `${line} has no alias yet` : table([['alias', 'version', 'set', 'by', 'why'], ...rows]);
      return { data: { line, aliases: found }, text };
    },
  });
}

function signed(command: Command): Command {
  return command
    .requiredOption('--reason <text>', 'why; recorded')
    .option('--who <name>', 'who says so; recorded', defaultWho());
}

async function resolved(db: Database, line: string, name: string): Promise<number> {
  await readLine(db, line);
  return resolveVersion(db, { line, version: name });
}

/** What each was made with that its parent was not, where the parent is among them. */
function withChanges(facts: readonly VersionFacts[]): ChangedVersion[] {
  return facts.map((one) => {
    const parent = facts.find(({ version }) => version.version === one.version.parent);
    return { ...one, changes: parent === undefined ? null : changesBetween(parent.version, one.version) };
  });
}

function describeVersions(
  versions: readonly VersionRecord[],
  { aliases, pins }: { aliases: readonly Alias[]; pins: readonly Pin[] },
): string {
  const rows = versions.map(({ version, status, parent, createdAt, cycleId, lineage, metrics }) => {
    const { examples, parity } = trained.parse(metrics);
    const marks = aliases.filter((alias) => alias.version === version).map(({ alias }) => alias);
    if (pins.some((pin) => pin.version === version)) marks.push('(pinned)');
    return [
      String(version),
      status,
      parent === null ? '-' : String(parent),
      time(createdAt),
      lineage.strategy ?? '-',
      examples === null ? '-' : count(examples),
      parity?.maxDelta == null ? '-' : difference(parity.maxDelta),
      cycleId ?? 'keeps the order of the input',
      marks.join(' '),
    ];
  });
  const head = ['version', 'status', 'parent', 'created', 'trained', 'examples', 'ONNX differs', 'cycle', 'aliases'];
  return table([head, ...rows]);
}

/** What a version's metrics say of its training; versions of before have less. */
const trained = z.object({
  examples: z.number().nullable().catch(null),
  parity: z.object({ maxDelta: z.number().nullable() }).nullable().catch(null),
});
