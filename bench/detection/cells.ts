import { once } from 'node:events';
import { streamSeed } from '../../data/evaluation/random.ts';
import { startThread } from '../../scoring/start-thread.ts';
import type { Noise } from './draws.ts';
import { MONITORS, type Job, type JobResult, type Scenario } from './simulation.ts';
import { LOOK_SECONDS, type Traffic } from './world.ts';

/** Ramps of a week of four-hour cycles. */
const WEEK_OF_RAMPS = 42;
/** Lines whose histories, and so dispersions, the windows of a cell are shared among. */
const LINES = 20;

const WINDOWS = { same: 20_000, degraded: 2_000 };

/** What one combination of traffic and course came to, by monitor. */
export interface Cell {
  traffic: Traffic;
  /** Ramps behind the dispersion; 0: a line's first ramp. */
  ramps: number;
  scenario: Omit<Scenario, 'windows'>;
  windows: number;
  /** Of the dispersion planned with, over the lines: least, mean, most. */
  dispersion: [number, number, number];
  monitors: Record<(typeof MONITORS)[number], MonitorFigures>;
}

export interface MonitorFigures {
  /** Windows with an alarm before anything was worse. */
  falseRollbacks: number;
  falseRate: number;
  /** From the onset to the end of the look with the alarm, in seconds, over windows without a false one; null: not within the window. */
  medianSeconds: number | null;
  p90Seconds: number | null;
}

/** Onsets: with the canary, at minute 15, and between two checks. */
const ONSETS: readonly (readonly [string, number])[] = [
  ['0', 0],
  ['15:00', 90],
  ['15:30', 93],
];

function scenarios(scale: number): Scenario[] {
  const same = Math.ceil((WINDOWS.same * scale) / LINES);
  const degraded = Math.ceil((WINDOWS.degraded * scale) / LINES);
  return [
    { name: 'no difference', effect: 1, onset: 0, outage: false, windows: same },
    { name: 'outage of both', effect: 1, onset: 0, outage: true, windows: same },
    ...[2, 3].flatMap((effect) =>
      ONSETS.map(([at, onset]) => ({
        name: `x${String(effect)} at ${at}`,
        effect,
        onset,
        outage: false,
        windows: degraded,
      })),
    ),
  ];
}

function combinations(): { traffic: Traffic; ramps: number }[] {
  const noises: readonly Noise[] = ['clean', 'lognormal', 'uniform'];
  const all = [0.02, 0.005].flatMap((base) =>
    [600, 6_000].flatMap((canaryPerMinute) =>
      noises.map((noise) => ({ traffic: { base, canaryPerMinute, noise }, ramps: WEEK_OF_RAMPS })),
    ),
  );
  const first = (['clean', 'lognormal'] as const).map((noise) => ({
    traffic: { base: 0.02, canaryPerMinute: 600, noise },
    ramps: 0,
  }));
  return [...all, ...first];
}

/** Simulates every cell, in threads. The figures are the same however many threads there are. */
export async function measureCells({
  quick,
  threads,
  say,
}: {
  quick: boolean;
  threads: number;
  say: (line: string) => void;
}): Promise<Cell[]> {
  const wanted = scenarios(quick ? 0.1 : 1);
  const jobs = combinations().flatMap((combination, index) =>
    Array.from({ length: LINES }, (_, line): Job => ({
      ...combination,
      scenarios: wanted,
      seed: streamSeed(index + 1, line),
    })),
  );
  const results = await runJobs(jobs, threads, (done) => {
    if (done % LINES === 0) say(`${String(done / LINES)} of ${String(jobs.length / LINES)} kinds of traffic simulated`);
  });
  return combinations().flatMap((combination, index) => {
    const mine = results.slice(index * LINES, (index + 1) * LINES);
    return wanted.map((scenario, at) => cellOf(combination, scenario, mine, at));
  });
}

async function runJobs(jobs: readonly Job[], threads: number, report: (done: number) => void): Promise<JobResult[]> {
  const results: JobResult[] = [];
  let next = 0;
  let done = 0;
  const work = async (): Promise<void> => {
    const thread = startThread({ beside: import.meta.url, entry: './detection-thread', workerData: null });
    while (next < jobs.length) {
      const index = next++;
      const answered = once(thread, 'message');
      thread.postMessage(jobs[index]);
      [results[index]] = (await answered) as [JobResult];
      report(++done);
    }
    await thread.terminate();
  };
  await Promise.all(Array.from({ length: Math.min(threads, jobs.length) }, work));
  return results;
}

function cellOf(
  { traffic, ramps }: { traffic: Traffic; ramps: number },
  { windows: _, ...scenario }: Scenario,
  results: readonly JobResult[],
  at: number,
): Cell {
  const dispersions = results.map(({ drift }) => drift.dispersion);
  const alarms = results.map((result) => result.alarms[at] ?? new Int16Array(0));
  const mean = dispersions.reduce((sum, value) => sum + value, 0) / dispersions.length;
  const monitors = Object.fromEntries(
    MONITORS.map((name, monitor) => {
      const looks = alarms.flatMap((some) => [...some.filter((__, index) => index % MONITORS.length === monitor)]);
      return [name, monitorFigures(looks, scenario)];
    }),
  ) as Cell['monitors'];
  const windows = alarms.reduce((sum, some) => sum + some.length / MONITORS.length, 0);
  return {
    ...{ traffic, ramps, scenario, windows, monitors },
    dispersion: [Math.min(...dispersions), mean, Math.max(...dispersions)],
  };
}

function monitorFigures(
  looks: readonly number[],
  { effect, onset }: Pick<Scenario, 'effect' | 'onset'>,
): MonitorFigures {
  const isFalse = (look: number): boolean => look >= 0 && (effect === 1 || look < onset);
  const falseRollbacks = looks.filter(isFalse).length;
  const times = looks
    .filter((look) => !isFalse(look))
    .map((look) => (look < 0 ? Infinity : (look - onset + 1) * LOOK_SECONDS))
    .sort((a, b) => a - b);
  const quantile = (q: number): number | null => {
    const time = times[Math.max(0, Math.ceil(q * times.length) - 1)] ?? Infinity;
    return effect === 1 || time === Infinity ? null : time;
  };
  return {
    falseRollbacks,
    falseRate: falseRollbacks / looks.length,
    medianSeconds: quantile(0.5),
    p90Seconds: quantile(0.9),
  };
}
