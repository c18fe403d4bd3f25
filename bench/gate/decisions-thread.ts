import { parentPort, workerData } from 'node:worker_threads';
import type { GateConfig } from '../../config/schema.ts';
import { runTrial, type Scenario, type Trial } from './simulation.ts';

/** A thread's share of the trials of a scenario: one for each seed. */
export interface Share {
  scenario: Scenario;
  config: GateConfig;
  seeds: number[];
}

const { scenario, config, seeds } = workerData as Share;
const trials: Trial[] = [];
for (const seed of seeds) trials.push(await runTrial(scenario, config, seed));
parentPort?.postMessage(trials);
