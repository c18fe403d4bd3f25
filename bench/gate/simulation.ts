import type { GateConfig } from '../../config/schema.ts';
import { compareScores } from '../../data/evaluation/bootstrap.ts';
import { streamSeed } from '../../data/evaluation/random.ts';
import type { Estimate, Evaluation } from '../../policy/evaluation.ts';
import { decideGate, type GateVerdict } from '../../policy/gate.ts';
import { sizeThatDetects } from '../../policy/power.ts';
import { simulateLog, type Scene } from './simulated-log.ts';

/** One kind of challenger, judged again and again. */
export interface Scenario {
  name: string;
  scene: Scene;
  /** AUC that the challenger really gains over the champion. */
  trueGain: number;
  /** Judge each on the size that detects a loss of twice the tolerance, by a pilot of this many users. */
  pilotUsers?: number;
}

export interface Trial {
  kind: GateVerdict['kind'];
  gain: Estimate;
  rows: number;
}

/** One trial: a new log, the paired bootstrap over its users, the gate's verdict. The same for the same seed. */
export async function runTrial({ scene, pilotUsers }: Scenario, config: GateConfig, seed: number): Promise<Trial> {
  if (pilotUsers === undefined) return judge(scene, config, streamSeed(seed, 0));
  const pilot = await judge({ ...scene, users: pilotUsers }, config, streamSeed(seed, 0));
  const measured = { rows: pilot.rows, users: pilotUsers, standardError: pilot.gain.standardError };
  const size = sizeThatDetects(measured, { margin: config.tolerance });
  if (size === undefined) throw new Error(`no size follows from the pilot of seed ${String(seed)}`);
  return judge({ ...scene, users: size.users }, config, streamSeed(seed, 1));
}

async function judge(scene: Scene, config: GateConfig, seed: number): Promise<Trial> {
  const { replicates } = config;
  const k = 10;
  const rows = simulateLog(scene, seed);
  const found = await compareScores({ rows, slices: [], replicates, seed, k, sliceMinRows: 1, threads: 1 });
  const evaluation: Evaluation = {
    ...{ ...found, champion: 1, notes: [], maxScoreChange: null, championMissing: [], historical: null },
    ...{ latency: [], modelBytes: 1, championBytes: 1, k, replicates, seed },
  };
  const { kind } = decideGate({ evaluation, config, hasChampion: true });
  const gain = found.overall.gain?.auc;
  if (gain === undefined) throw new Error('two models were compared, and there is no gain');
  return { kind, gain, rows: rows.labels.length };
}
