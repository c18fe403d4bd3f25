import { access, copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { ArtifactError } from '../store/artifacts.ts';
import { closedCycles } from '../store/cycles.ts';
import { foldersIn, type ScratchFolder } from '../store/scratch-artifacts.ts';
import type { GpuDependencies } from './dependencies.ts';
import { onDisk } from './trainer-errors.ts';
import type { KeptCheckpoint } from './trainer-heartbeats.ts';

/** A replaced checkpoint stays until the heartbeat with the new one has surely reached Temporal, or the attempt is over. */
const KEEP_REPLACED_MS = 120_000;

interface Seen {
  path: string;
  epoch: number;
  step: number;
}

export interface CheckpointCopiesOptions {
  scratch: ScratchFolder;
  workDir: string;
  attemptAtMs: number;
  onKept: (checkpoint: KeptCheckpoint) => void;
  /** A copy that failed costs a restart on another machine its progress, never this training. */
  onProblem: (message: string) => void;
}

/**
 * Copies the checkpoints a trainer reports to where another machine finds them, one at a time and the newest first: one
 * that was overtaken while another was copied is not copied at all. The trainer never waits for it.
 */
export class CheckpointCopies {
  readonly #options: CheckpointCopiesOptions;
  readonly #replaced: { sha256: string; atMs: number }[] = [];
  #kept: KeptCheckpoint | null = null;
  #newest: Seen | null = null;
  #copying: Promise<void> | null = null;

  constructor(options: CheckpointCopiesOptions) {
    this.#options = options;
  }

  saw(checkpoint: Seen): void {
    this.#newest = checkpoint;
    this.#copying ??= this.#copy().finally(() => {
      this.#copying = null;
    });
  }

  /** Waits until what was reported is copied, but no longer than `limitMs`. */
  async settled(limitMs: number): Promise<void> {
    if (this.#copying === null) return;
    const stop = new AbortController();
    await Promise.race([this.#copying, wait(limitMs, undefined, { signal: stop.signal })]);
    stop.abort();
  }

  async #copy(): Promise<void> {
    for (let next = this.#newest; next !== null; next = this.#newest) {
      this.#newest = null;
      try {
        await this.#keep(next);
      } catch (error) {
        this.#options.onProblem(
          `checkpoint ${next.path} was not copied (${error instanceof Error ? error.message : String(error)}): should this machine be lost, the training goes on from an earlier one`,
        );
      }
    }
  }

  async #keep({ path, epoch, step }: Seen): Promise<void> {
    const { scratch, workDir, attemptAtMs, onKept } = this.#options;
    const file = relative(workDir, path);
    if (!isInside(file)) throw new Error(`it lies outside the work folder ${workDir}, where the contract asks for it`);
    const { sha256 } = await scratch.putFile(path);
    const before = this.#kept;
    this.#kept = { sha256, file, epoch, step, attemptAtMs };
    onKept(this.#kept);
    if (before !== null) this.#replaced.push({ sha256: before.sha256, atMs: performance.now() });
    await this.#forgetReplaced();
  }

  async #forgetReplaced(): Promise<void> {
    while (this.#replaced[0] !== undefined && performance.now() - this.#replaced[0].atMs > KEEP_REPLACED_MS) {
      const sha256 = this.#replaced.shift()?.sha256;
      const inUse = sha256 === this.#kept?.sha256 || this.#replaced.some((other) => other.sha256 === sha256);
      if (sha256 !== undefined && !inUse) await this.#options.scratch.delete(sha256);
    }
  }
}

const MARK_FILE = 'checkpointed.json';

/** Notes in a training's folder which attempt saved the checkpoint that lies in it. */
export async function markCheckpointed(folder: string, attemptAtMs: number): Promise<void> {
  const path = join(folder, MARK_FILE);
  await writeFile(`${path}.partial`, JSON.stringify({ attemptAtMs }));
  await rename(`${path}.partial`, path);
}

export type Restored =
  | { kind: 'nothingToRestore' }
  /** The work folder's own checkpoint is as new. */
  | { kind: 'local' }
  | { kind: 'restored' }
  /** The trainer starts over, or from an older one. */
  | { kind: 'lost'; message: string };

/** Puts a kept checkpoint into the work folder of this machine, unless one that is as new lies there. */
export async function restoreCheckpoint(of: {
  scratch: ScratchFolder;
  folder: string;
  workDir: string;
  kept: KeptCheckpoint | null;
}): Promise<Restored> {
  const { scratch, folder, workDir, kept } = of;
  if (kept === null) return { kind: 'nothingToRestore' };
  if (!isInside(kept.file)) return { kind: 'lost', message: `its path ${kept.file} leads out of the work folder` };
  const target = join(workDir, kept.file);
  if ((await markedAttempt(folder)) >= kept.attemptAtMs && (await exists(target))) return { kind: 'local' };
  try {
    const source = await scratch.path(kept.sha256);
    await onDisk(`checkpoint ${target}`, async () => {
      await mkdir(dirname(target), { recursive: true });
      await copyFile(source, `${target}.restored`);
      await rename(`${target}.restored`, target);
      await markCheckpointed(folder, kept.attemptAtMs);
    });
    return { kind: 'restored' };
  } catch (error) {
    if (error instanceof ArtifactError) return { kind: 'lost', message: error.message };
    throw error;
  }
}

async function markedAttempt(folder: string): Promise<number> {
  try {
    const { attemptAtMs } = JSON.parse(await readFile(join(folder, MARK_FILE), 'utf8')) as { attemptAtMs: unknown };
    return typeof attemptAtMs === 'number' ? attemptAtMs : -Infinity;
  } catch {
    return -Infinity;
  }
}

function isInside(file: string): boolean {
  return file !== '' && !isAbsolute(file) && !file.split(/[/\\]/).includes('..');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** The folder of a cycle's training on this machine. */
export function trainingFolder(workRoot: string, cycleId: string): string {
  return join(trainingRoot(workRoot), encodeURIComponent(cycleId));
}

const trainingRoot = (workRoot: string): string => join(workRoot, 'training');

type Places = Pick<GpuDependencies, 'workRoot' | 'scratch'>;

/** Removes a training's folder on this machine and its kept checkpoints. */
export async function removeTraining({ workRoot, scratch }: Places, cycleId: string): Promise<void> {
  await rm(trainingFolder(workRoot, cycleId), { recursive: true, force: true });
  await scratch.delete(cycleId);
}

/**
 * Removes what is left of trainings whose cycle is closed: those that were cancelled, failed, or went on elsewhere. Folders
 * of cycles that this database does not know are left alone.
 */
export async function removeLeftOvers(deps: Places & Pick<GpuDependencies, 'db'>): Promise<string[]> {
  const [folders, owners] = await Promise.all([foldersIn(trainingRoot(deps.workRoot)), deps.scratch.owners()]);
  const closed = await closedCycles(deps.db, [...new Set([...folders, ...owners])]);
  for (const cycleId of closed) await removeTraining(deps, cycleId);
  return closed;
}
