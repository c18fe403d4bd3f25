import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadLineConfig } from '../../config/load.ts';
import type { LineConfig } from '../../config/schema.ts';
import { atSpeed } from '../../config/speed.ts';
import { projectRoot } from '../stack/project.ts';

/** One log day and one cycle in 80 s: a cycle of the demo lines takes about 65 s on two cores. */
const DEFAULT_SPEED = 180;
const DEFAULT_LOG = '../shared/data/kuairand/impressions.parquet';

export const DEMO_HELP = `npm run demo -- [options]

Starts Freshet on this machine, replays a log as live traffic and plays six cycles.

  --log PATH      log to replay (Parquet or CSV); default: KuaiRand-Pure beside the checkout, else a simulated feed
  --line CONFIG   config of the model line, whose \`log\` section maps the log's columns; goes with --log
  --speed N       divide operating durations by N (default ${String(DEFAULT_SPEED)}: a 4 h cadence becomes 80 s)
  --seed N        seed of request ids, click delays and training (default 1)
  --json FILE     write the report as one JSON document
  --keep          leave everything running until Ctrl-C
  --help          this text

Example: npm run demo -- --log feed.parquet --line config/feed.yaml --json demo.json`;

export interface DemoOptions {
  /** Resolved config, at speed. */
  config: LineConfig;
  source: { kind: 'log'; path: string } | { kind: 'simulated' };
  speed: number;
  seed: number;
  json: string | null;
  keep: boolean;
}

/**
 * Reads the command line.
 *
 * @returns null when help was asked for.
 * @throws Error for an unknown option, a number that is none, a log without a line or a config that does not load.
 */
export async function readDemoOptions(args: readonly string[]): Promise<DemoOptions | null> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      log: { type: 'string' },
      line: { type: 'string' },
      speed: { type: 'string', default: String(DEFAULT_SPEED) },
      seed: { type: 'string', default: '1' },
      json: { type: 'string' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return null;
  const speed = numberOf('--speed', values.speed);
  const seed = Math.trunc(numberOf('--seed', values.seed));
  const { source, configPath } = chooseSource(values);
  const config = atSpeed(await loadLineConfig(configPath), speed);
  if (source.kind === 'log' && config.log === undefined) {
    throw new Error(
      `${configPath} has no "log" section: map the log's columns there (config/kuairand.yaml is an example)`,
    );
  }
  return {
    config: { ...config, training: { ...config.training, seed } },
    source,
    speed,
    seed,
    json: values.json ?? null,
    keep: values.keep,
  };
}

function chooseSource({ log, line }: { log?: string; line?: string }): {
  source: DemoOptions['source'];
  configPath: string;
} {
  const root = projectRoot();
  const shipped = (name: string): string => join(root, 'config', name);
  if (log !== undefined) {
    if (line === undefined) throw new Error('--log needs --line CONFIG: its `log` section maps the columns of the log');
    return { source: { kind: 'log', path: resolve(log) }, configPath: resolve(line) };
  }
  const kuairand = join(root, DEFAULT_LOG);
  if (existsSync(kuairand))
    return { source: { kind: 'log', path: kuairand }, configPath: line ?? shipped('kuairand.yaml') };
  return { source: { kind: 'simulated' }, configPath: line ?? shipped('simulated-feed.yaml') };
}

function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new Error(`${option} takes a number, got "${text}"`);
  return value;
}
