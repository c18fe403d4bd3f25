import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { pino } from 'pino';
import type { DataDependencies, GpuDependencies } from '../../activities/dependencies.ts';
import { takeSnapshot } from '../../activities/take-snapshot.ts';
import {
  trainChallenger,
  type TrainChallengerInput,
  type TrainChallengerResult,
} from '../../activities/train-challenger.ts';
import { DevicePool } from '../../activities/trainer-devices.ts';
import type { TrainingHeartbeat } from '../../activities/trainer-heartbeats.ts';
import { lineConfigSchema, type LineConfigInput } from '../../config/schema.ts';
import { openLocalArtifacts } from '../../store/artifacts.ts';
import { applyLine } from '../../store/lines.ts';
import { openLocalScratch } from '../../store/scratch-artifacts.ts';
import { createTestDatabase } from '../rig/database.ts';
import { fixtureTrainer, type TrainerMode } from '../rig/installation.ts';
import { claim, LINE } from '../store/stage.ts';

/** One attempt of the training activity that is under way. */
export interface Attempt {
  result: Promise<TrainChallengerResult>;
  beats: TrainingHeartbeat[];
  /** The first heartbeat that is as asked. */
  until(reached: (beat: TrainingHeartbeat) => boolean): Promise<TrainingHeartbeat>;
  cancel: MockActivityEnvironment['cancel'];
}

/** Machines that share a database and an artifact store, and cycles with an empty snapshot on them. */
export interface TrainingStage {
  folder: string;
  deps: GpuDependencies;
  /** The dependencies of another machine: a work folder of its own. */
  machine(name: string, change?: Partial<GpuDependencies>): GpuDependencies;
  /** Claims the line for a cycle that trains as given, and takes its snapshot. */
  cycle(cycleId: string, training: LineConfigInput['training']): Promise<TrainChallengerInput>;
  close(): Promise<void>;
}

export const trainer = (mode: TrainerMode, ...more: string[]): string[] => [...fixtureTrainer('rising', mode), ...more];

export async function createTrainingStage(): Promise<TrainingStage> {
  const folder = await mkdtemp(join(tmpdir(), 'freshet-training-'));
  const database = await createTestDatabase();
  const { db } = database;
  const core = { db, logger: pino({ level: 'silent' }), uiUrl: null, codeVersion: 'test' };
  const artifacts = openLocalArtifacts(join(folder, 'artifacts'));
  const machine = (name: string, change: Partial<GpuDependencies> = {}): GpuDependencies => ({
    ...core,
    artifacts,
    scratch: openLocalScratch(join(folder, 'artifacts', 'scratch')),
    workRoot: join(folder, name),
    devices: new DevicePool({ cpuTrainings: 1 }),
    trainer: { command: trainer('ok'), distributed: () => ['/no/such/torchrun'], env: {} },
    ...change,
  });
  const data: DataDependencies = {
    ...{ ...core, artifacts, logRoot: join(folder, 'log'), workRoot: join(folder, 'data'), logTable: null },
    ...{ processEnv: {}, reportsUrl: null },
  };
  return {
    folder,
    machine,
    deps: machine('a'),
    async cycle(cycleId, training) {
      const config = lineConfigSchema.parse({ line: LINE, features: [{ kind: 'numeric', name: 'age' }], training });
      await applyLine(db, { config, who: 'test' });
      await claim(db, cycleId);
      const { snapshotId } = await takeSnapshot(data, { cycleId });
      return { cycleId, snapshotId };
    },
    async close() {
      await database.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Runs the activity as Temporal would run its `attempt`, with the last heartbeat of the one before. */
export function attempt(
  deps: GpuDependencies,
  input: TrainChallengerInput,
  { number = 1, after }: { number?: number; after?: TrainingHeartbeat | undefined } = {},
): Attempt {
  const environment = new MockActivityEnvironment(
    { attempt: number, heartbeatDetails: after, currentAttemptScheduledTimestampMs: 1_000 * number },
    { logger: new DefaultLogger('ERROR') },
  );
  const beats: TrainingHeartbeat[] = [];
  const listeners = new Set<(beat: TrainingHeartbeat) => void>();
  environment.on('heartbeat', (beat: TrainingHeartbeat) => {
    beats.push(beat);
    for (const listener of listeners) listener(beat);
  });
  const result = environment.run<[], TrainChallengerResult, () => Promise<TrainChallengerResult>>(() =>
    trainChallenger(deps, input),
  );
  result.catch(() => undefined);
  return {
    result,
    beats,
    cancel: (reason, details) => {
      environment.cancel(reason, details);
    },
    until: (reached) =>
      new Promise((resolve, reject) => {
        const listener = (beat: TrainingHeartbeat): void => {
          if (!reached(beat)) return;
          listeners.delete(listener);
          resolve(beat);
        };
        listeners.add(listener);
        for (const beat of beats) listener(beat);
        result.then(
          () => {
            reject(new Error(`the training ended before that: ${JSON.stringify(beats.at(-1))}`));
          },
          (error: unknown) => {
            reject(error instanceof Error ? error : new Error(String(error)));
          },
        );
      }),
  };
}
