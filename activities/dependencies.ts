import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import type { ServingTarget } from '../integrations/serving-target.ts';
import type { Database } from '../store/database.ts';
import type { ArtifactStore } from '../store/artifacts.ts';
import type { AlertChannel } from '../store/outbox.ts';
import type { ScratchArtifacts } from '../store/scratch-artifacts.ts';
import type { DevicePool } from './trainer-devices.ts';

/** What the activities of every queue stand on. Built once by a worker; there are no globals. */
export interface CoreDependencies {
  db: Database;
  logger: Logger;
  /** Address of the Temporal UI, for links in alerts; null leaves them out. */
  uiUrl: string | null;
  /** Recorded in each version's lineage. */
  codeVersion: string;
}

export interface DataDependencies extends CoreDependencies {
  artifacts: ArtifactStore;
  /** Root folder of the event log that the gateways write. */
  logRoot: string;
  /** Scratch space, emptied cycle by cycle. */
  workRoot: string;
  /** What `{log}` stands for in the paths of joined features. */
  logTable: string | null;
  /** What lake and Postgres sources take their folders and addresses from. */
  processEnv: NodeJS.ProcessEnv;
  /** Where reports on snapshots are served, for links; null leaves them out. */
  reportsUrl: string | null;
}

export interface GpuDependencies extends CoreDependencies {
  artifacts: ArtifactStore;
  workRoot: string;
  /** Checkpoints of running trainings, for a try on another machine. */
  scratch: ScratchArtifacts;
  /** The devices of this machine, shared out among its trainings. */
  devices: DevicePool;
  trainer: {
    /** The reference trainer, used by lines that name none: a command that takes the manifest's path. */
    command: readonly string[];
    /** The same on several GPUs, with a process for each. */
    distributed: (processes: number) => readonly string[];
    /** Of the reference trainer alone. */
    env: NodeJS.ProcessEnv;
    /** A trainer that says nothing for this long hangs; two minutes when left out. */
    silenceLimitMs?: number;
  };
}

export interface RolloutDependencies extends CoreDependencies {
  temporal: Client;
  /** What serves the routes. */
  serving: ServingTarget;
  channels: readonly AlertChannel[];
  prometheusUrl: string | null;
}
