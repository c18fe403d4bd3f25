import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { z } from 'zod';
import { stopOnSignals } from '../scripts/stack/processes.ts';
import { faultsOf, scaledDown, tryFault, type FaultFigures } from './rollback/dead-monitors.ts';
import { Installation, LINE } from './rollback/installation.ts';
import { answersAfterConfirmation, figuresOf, restartAll, rollBackMany } from './rollback/rollbacks.ts';
import { tableOf, type Measured, type Part } from './rollback/table.ts';
import { Traffic } from './rollback/traffic.ts';
import type { BenchmarkResult } from './run.ts';

export const description =
  'how soon three gateways have confirmed a rollback under load, and are back on stable when their monitor dies';

const given = z.object({
  rollbacks: z.number(),
  polled: z.number(),
  restarts: z.number(),
  rate: z.number(),
  factor: z.number(),
  only: z.string().optional(),
  deaths: z.boolean(),
  quick: z.boolean().default(false),
});
type Settings = z.output<typeof given>;

const QUICK = { rollbacks: 10, polled: 5, restarts: 1 };

export function options(command: Command): void {
  command
    .option('--rollbacks <n>', 'whole cycles that an operator rolls back in their canary', wholeNumber, 200)
    .option('--polled <n>', 'as many again, with gateways that only poll for routes', wholeNumber, 60)
    .option('--restarts <n>', 'rolling restarts of the gateways, for comparison', wholeNumber, 5)
    .option('--rate <n>', 'requests a second over all gateways, of 50 candidates', wholeNumber, 150)
    .option(
      '--factor <n>',
      'by which lease, check interval and ramp are shorter while the monitor dies',
      wholeNumber,
      10,
    )
    .option('--only <text>', 'of the deaths, those whose name has it; no rollbacks without one')
    .option('--no-deaths', 'leaves them out')
    .option('--quick', 'fewer of everything, while developing');
}

export async function run(input: Record<string, unknown>): Promise<BenchmarkResult> {
  const parsed = given.parse(input);
  const settings = parsed.quick ? { ...parsed, ...QUICK } : parsed;
  const load = loadavg()[0] ?? NaN;
  const say = (line: string): void => {
    console.error(line);
  };
  const installation = await Installation.create(say);
  stopOnSignals(() => installation.close());
  try {
    const measured = await measure(installation, { settings, say });
    const { announced, polled, restartMs, faults } = measured;
    const figures = {
      ...(announced !== null && {
        ...announced.figures,
        canaryAnswersAfterConfirmation: announced.after.canary,
        canaryAnswersForSureAfterConfirmation: announced.after.canaryForSure,
        canaryAnswersAskedAfterConfirmation: announced.after.canaryAskedAfter,
        earlierRouteAnswersAfterConfirmation: announced.after.earlierRoute,
      }),
      failedRequests: measured.failedRequests,
      requests: measured.requests,
      statuses: measured.statuses,
      deadMonitorMaxSeconds: faults.length === 0 ? null : Math.max(...faults.map((fault) => fault.stableSeconds)),
      deadMonitors: faults,
      polling: polled?.figures ?? null,
      ratioPolledP50: ratio(polled?.figures.p50Ms, announced?.figures.p50Ms),
      ratioPolledP99: ratio(polled?.figures.p99Ms, announced?.figures.p99Ms),
      restartP50Ms: middle(restartMs),
      ratioRestartP50: ratio(middle(restartMs), announced?.figures.p50Ms),
      load,
      settings,
    };
    return { figures, table: tableOf({ ...measured, factor: settings.factor }) };
  } finally {
    await installation.close();
  }
}

async function measure(
  installation: Installation,
  { settings, say }: { settings: Settings; say: (line: string) => void },
): Promise<Measured> {
  const { rollbacks, polled, rate, factor, only, restarts } = settings;
  const urls = installation.gateways.map(({ url }) => url);
  const traffic = await Traffic.start({ urls, line: LINE, rate, candidates: 50, limit: 10 });
  try {
    await sleep(3_000);
    const seen = traffic.answers.length;
    const some = only === undefined;
    const announced = some ? await rollBackMany(installation, { traffic, count: rollbacks, seed: 1, say }) : [];
    await installation.announce(false);
    const waited = some ? await rollBackMany(installation, { traffic, count: polled, seed: 2, say }) : [];
    await installation.announce(true);

    await installation.apply(scaledDown(factor));
    const faults: FaultFigures[] = [];
    for (const fault of faultsOf(installation)) {
      if (!settings.deaths || !fault.name.includes(only ?? '')) continue;
      const figures = await tryFault({ installation, traffic, fault, factor });
      say(
        `${fault.name}: stable after ${figures.measuredSeconds.toFixed(1)} s (x ${String(factor)}), ${figures.outcome}`,
      );
      faults.push(figures);
    }
    await traffic.stop();
    const answers = traffic.answers.slice(seen);
    const part = (of: typeof announced): Part | null =>
      of.length === 0 ? null : { figures: figuresOf(of, traffic), after: answersAfterConfirmation(answers, of) };
    return {
      ...{ announced: part(announced), polled: part(waited), faults },
      restartMs: some ? await restartAll(installation, restarts) : [],
      requests: answers.length,
      failedRequests: answers.filter(({ status }) => status !== '200').length,
      statuses: countBy(answers, ({ status }) => status),
    };
  } finally {
    await traffic.stop();
  }
}

function countBy<T>(items: readonly T[], name: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[name(item)] = (counts[name(item)] ?? 0) + 1;
  return counts;
}

function middle(values: readonly number[]): number | null {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? null;
}

function ratio(above: number | null | undefined, below: number | null | undefined): number | null {
  return above == null || below == null ? null : above / below;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('expected a whole number of at least 1.');
  return number;
}
