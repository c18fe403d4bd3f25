import type { Command } from 'commander';
import { z } from 'zod';
import { databaseNow, type Database } from '../../store/database.ts';
import { readLine } from '../../store/lines.ts';
import { readRoute } from '../../store/route-head.ts';
import { routeAt, routeHistory } from '../../store/routes.ts';
import type { Route } from '../../store/types.ts';
import { describeRoute, percent } from '../registry/describe-route.ts';
import { positiveInteger, runs, table, time } from './run-command.ts';

const EXPECTED =
  'expected one with its offset, such as 2026-01-31T12:00:00Z or 2026-01-31T13:00:00+01:00, or Unix milliseconds';

/** `route history LINE`, `route at LINE TIME`. */
export function registerRouteCommands(program: Command): void {
  const route = program.command('route').description('which versions got which share of the traffic, and when');
  runs(
    route
      .command('history')
      .description('the routes of a model line, newest first')
      .argument('<line>')
      .option('--limit <n>', 'how many', positiveInteger, 20),
    {
      example: 'route history news-feed --limit 50',
      work: async (access, line: string, { limit }: { limit: number }) => {
        const db = await access.database();
        await readLine(db, line);
        const routes = await routeHistory(db, { line, limit });
        const older = (routes.at(-1)?.epoch ?? 1) - 1;
        const rest = older === 0 ? '' : `\n${older} older; see --limit`;
        return { data: { line, routes }, text: `${describeHistory(routes)}${rest}` };
      },
    },
  );

  runs(route.command('at').description('what served at a time').argument('<line>').argument('<time>', EXPECTED), {
    example: 'route at news-feed 2026-01-31T12:00:00Z',
    work: async (access, line: string, text: string) => {
      const at = readTime(text);
      const db = await access.database();
      await readLine(db, line);
      await checkPast(db, at);
      const found = await routeAt(db, { line, time: at });
      if (found === null) return { data: { line, at, route: null }, text: await beforeFirst(db, line, at) };
      const lines = [
        `${time(at)}  ${describeRoute(found)}`,
        `since ${time(found.at)}, by ${found.who}: ${found.why}`,
        ...(found.canary === null && found.shadow === null ? [] : [CANDIDATE]),
      ];
      return { data: { line, at, route: found }, text: lines.join('\n') };
    },
  });
}

const CANDIDATE =
  'a canary or shadow serves only while its lease holds: from where that ran out, the stable had its share';

function describeHistory(routes: readonly Route[]): string {
  const rows = routes.map((route) => [
    String(route.epoch),
    time(route.at),
    String(route.stable),
    route.canary === null ? '-' : `${route.canary} at ${percent(route.canaryShare)}`,
    holdbackOf(route),
    route.shadow === null ? '-' : `${route.shadow} on ${percent(route.shadowShare)}`,
    route.who,
    route.why,
  ]);
  return table([['epoch', 'since', 'stable', 'canary', 'holdback', 'shadow', 'by', 'why'], ...rows]);
}

function holdbackOf({ canary, holdback, holdbackVersion }: Route): string {
  if (holdbackVersion !== null) return `${percent(holdback)} on ${holdbackVersion}`;
  return canary === null ? '-' : percent(holdback);
}

function readTime(text: string): Date {
  if (/^\d+$/.test(text)) {
    // Seconds would be a time in 1970.
    if (text.length >= 12 && text.length <= 14) return new Date(Number(text));
    throw new Error(`"${text}" is no time: Unix milliseconds have 13 digits, it has ${text.length}; ${EXPECTED}`);
  }
  if (z.iso.datetime({ offset: true }).safeParse(text).success) return new Date(text);
  throw new Error(`"${text}" is no time: ${EXPECTED}`);
}

async function checkPast(db: Database, at: Date): Promise<void> {
  const now = await databaseNow(db);
  if (at > now)
    throw new Error(`${time(at)} has not come yet: it is ${time(now)}; "freshet status LINE" shows what serves now`);
}

async function beforeFirst(db: Database, line: string, at: Date): Promise<string> {
  const first = await readRoute(db, { line, epoch: 1 });
  return `nothing of ${line} served at ${time(at)}: its first route is of ${time(first.at)}`;
}
