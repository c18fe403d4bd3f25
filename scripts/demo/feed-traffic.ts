import { join } from 'node:path';
import type { LineConfig } from '../../config/schema.ts';
import { createFeed } from '../../simulator/feed.ts';
import { createReplayer } from '../../simulator/replayer.ts';
import type { Traffic } from '../../simulator/traffic.ts';
import type { EventTimeline } from '../../simulator/event-timeline.ts';
import type { DemoOptions } from './options.ts';

export interface DemoTraffic {
  traffic: Traffic;
  /** Said in the output and the report: nobody should take simulated figures for real ones. */
  dataSource: string;
}

/** The table that `{log}` stands for in joined features: the log itself, or what the simulated users did. */
export function logTable(source: DemoOptions['source'], dataDir: string): string {
  return source.kind === 'log' ? source.path : join(outcomesFolder(dataDir), '*.parquet');
}

/** Live traffic for the story: the log replayed, or simulated users where there is no log. */
export async function openTraffic(of: {
  source: DemoOptions['source'];
  config: LineConfig;
  gatewayUrl: string;
  dayMs: number;
  seed: number;
  dataDir: string;
  onTimeline: (timeline: EventTimeline) => void;
}): Promise<DemoTraffic> {
  const { source, config, gatewayUrl, dayMs, seed, dataDir, onTimeline } = of;
  const shared = { config, gatewayUrl, dayMs, seed, onTimeline };
  if (source.kind === 'simulated') {
    const traffic = await createFeed({ ...shared, outcomesFolder: outcomesFolder(dataDir) });
    return { traffic, dataSource: 'simulated feed (no log at hand: see README for where to get KuaiRand-Pure)' };
  }
  const replayer = await createReplayer({ ...shared, log: source.path });
  const { rows, firstMs, lastMs } = replayer.log;
  const range = `${new Date(firstMs).toISOString()} to ${new Date(lastMs).toISOString()}`;
  return { traffic: replayer, dataSource: `${config.line} log, ${String(rows)} impressions, ${range}` };
}

function outcomesFolder(dataDir: string): string {
  return join(dataDir, 'outcomes');
}
