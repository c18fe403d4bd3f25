import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { loadLineConfig } from '../config/load.ts';
import { createFeed } from './feed.ts';
import { createReplayer } from './replayer.ts';
import type { Traffic } from './traffic.ts';

/**
 * Traffic in a process of its own. Writes one JSON object a line to standard output:
 *
 * - `{"type":"ready","source":"log"|"simulated","path"?,"rows"?,"firstMs"?,"lastMs"?}` once the source is open
 * - `{"type":"timeline","eventMs","operatingMs","rate"}` whenever the mapping of the clocks changes: the line's event clock
 * - `{"type":"stats",...TrafficStats}` every `--stats-every-ms`, and `{"type":"stopped",...TrafficStats}` at the end
 *
 * Reads commands from standard input, one JSON object a line: `{"command":"hold"}`, `{"command":"resume"}`,
 * `{"command":"day","dayMs":40000}`, `{"command":"stop"}`. It stops, with exit code 0, on that command, on SIGINT and SIGTERM,
 * and at the end of standard input (its parent is gone). What can not be replayed is said on standard error: exit code 2.
 */
const HELP = `Usage: replay-main --config FILE --gateway URL (--log PATH | --simulated) [options]

  --config FILE            the model line's YAML config
  --gateway URL            such as http://127.0.0.1:8080
  --log PATH               log to replay: Parquet or CSV file, or a folder with one Parquet file
  --simulated              simulated feed instead of a log
  --outcomes FOLDER        simulated: where to write the post-click table
  --day-ms N               operating milliseconds a day of event time takes (default 80000)
  --seed N                 default 1
  --start-at-ms N          event time to start at, Unix ms (default: the source's first)
  --start-operating-ms N   operating time at which that is, Unix ms (default: now)
  --stats-every-ms N       default 1000

Example: replay-main --config config/kuairand.yaml --log impressions.parquet --gateway http://127.0.0.1:8080`;

const number = z.coerce.number<string>({ error: 'expected a number' });
const argumentsSchema = z
  .object({
    config: z.string({ error: 'is needed' }),
    gateway: z.string({ error: 'is needed' }),
    log: z.string().optional(),
    simulated: z.boolean().default(false),
    outcomes: z.string().optional(),
    'day-ms': number.default(80_000),
    seed: number.default(1),
    'start-at-ms': number.optional(),
    'start-operating-ms': number.optional(),
    'stats-every-ms': number.default(1_000),
  })
  .refine(({ log, simulated }) => (log === undefined) === simulated, {
    error: 'give either --log PATH or --simulated',
  });

const command = z.discriminatedUnion('command', [
  z.object({ command: z.literal('hold') }),
  z.object({ command: z.literal('resume') }),
  z.object({ command: z.literal('day'), dayMs: z.number().positive() }),
  z.object({ command: z.literal('stop') }),
]);

class UsageError extends Error {}

function say(line: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function complain(message: string): void {
  process.stderr.write(`${message}\n`);
}

function readArguments(): z.infer<typeof argumentsSchema> {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  try {
    const { values } = parseArgs({
      options: {
        config: text,
        gateway: text,
        log: text,
        simulated: flag,
        outcomes: text,
        'day-ms': text,
        seed: text,
        'start-at-ms': text,
        'start-operating-ms': text,
        'stats-every-ms': text,
      },
    });
    const parsed = argumentsSchema.safeParse(values);
    if (parsed.success) return parsed.data;
    const problems = parsed.error.issues.map(
      ({ path, message }) => `${path.length > 0 ? `--${path.join('.')}: ` : ''}${message}`,
    );
    throw new UsageError(problems.join('\n'));
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError(error instanceof Error ? error.message : String(error));
  }
}

async function openTraffic(args: z.infer<typeof argumentsSchema>, onError: (error: Error) => void): Promise<Traffic> {
  const config = await loadLineConfig(args.config);
  const startAtMs = args['start-at-ms'];
  const startOperatingMs = args['start-operating-ms'];
  const options = {
    config,
    gatewayUrl: args.gateway,
    dayMs: args['day-ms'],
    seed: args.seed,
    ...(startAtMs === undefined ? {} : { startAtMs }),
    ...(startOperatingMs === undefined ? {} : { startOperatingMs }),
    onError,
    onTimeline: (timeline: object) => {
      say({ type: 'timeline', ...timeline });
    },
  };
  if (args.log === undefined) {
    const feed = await createFeed({
      ...options,
      ...(args.outcomes === undefined ? {} : { outcomesFolder: args.outcomes }),
    });
    say({ type: 'ready', source: 'simulated' });
    return feed;
  }
  const replayer = await createReplayer({ ...options, log: args.log });
  const { path, rows, unusableRows, firstMs, lastMs } = replayer.log;
  say({ type: 'ready', source: 'log', path, rows, unusableRows, firstMs, lastMs });
  return replayer;
}

/** Resolves when somebody wants the traffic to stop; rejects when its source broke. */
async function untilStopped(traffic: Traffic, broken: Promise<never>): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
    const lines = createInterface({ input: process.stdin });
    lines.once('close', resolve);
    lines.on('line', (line) => {
      const order = command.safeParse(parseJson(line));
      if (!order.success) complain(`not a command: ${line.slice(0, 200)}`);
      else if (order.data.command === 'stop') resolve();
      else if (order.data.command === 'hold') traffic.hold();
      else if (order.data.command === 'resume') traffic.resume();
      else traffic.setDayMs(order.data.dayMs);
    });
  });
  await Promise.race([stopped, broken]);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    process.stdout.write(`${HELP}\n`);
    return;
  }
  const args = readArguments();
  let onError: (error: Error) => void = () => undefined;
  const broken = new Promise<never>((_, reject) => {
    onError = reject;
  });
  const traffic = await openTraffic(args, onError);
  await traffic.start();
  const timer = setInterval(() => {
    say({ type: 'stats', ...traffic.stats() });
  }, args['stats-every-ms']);
  try {
    await untilStopped(traffic, broken);
  } finally {
    clearInterval(timer);
    say({ type: 'stopped', ...(await traffic.stop()) });
  }
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    complain(error instanceof Error ? error.message : String(error));
    if (error instanceof UsageError) complain('See --help.');
    process.exit(2);
  },
);
