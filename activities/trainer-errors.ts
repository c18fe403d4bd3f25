import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';

/** The type of the failure that Temporal and operators see. */
export type TrainerFailureType =
  | 'TrainerInputError'
  | 'TrainerNumericalError'
  | 'TrainerOutOfMemory'
  | 'TrainerDiskFull'
  | 'TrainerKilled'
  | 'TrainerStopped'
  | 'TrainerHung'
  | 'TrainerNotFound'
  | 'TrainerContractBroken'
  | 'TrainerFailed'
  /** Not the trainer: Postgres, an artifact, the machine. */
  | 'TrainingBlocked';

/** Why a training did not end well. What is not retryable repeats itself. */
export interface TrainerFailure {
  type: TrainerFailureType;
  /** What happened and what to do. */
  message: string;
  retryable: boolean;
  /** Not before; the retry policy's own interval when left out. */
  retryAfterMs?: number;
}

/** Space comes back when other trainings end or somebody makes room: not within seconds. */
const DISK_RETRY_MS = 60_000;
/** Databases and mounts come back: five tries outlast a restart. */
const BLOCKED_RETRY_MS = 30_000;
/** Tries in a row without a new checkpoint, after which another one is not worth its device. */
const TRIES_WITHOUT_CHECKPOINT = 5;

/** What the exit of a trainer means by its contract: `docs/trainer-contract.md`. `said`: its last line of standard error. */
export function explainExit(exit: { code: number | null; signal: string | null; said: string | null }): TrainerFailure {
  const { code, signal } = exit;
  const how = code === null ? `was ended by ${signal ?? 'a signal'}` : `exited with code ${String(code)}`;
  const why = exit.said ?? 'it wrote nothing to standard error';
  const failure = (type: TrainerFailureType, retryable: boolean, toDo?: string): TrainerFailure => ({
    type,
    retryable,
    message: `the trainer ${how}: ${why}${toDo === undefined ? '' : `; ${toDo}`}`,
  });
  if (signal === 'SIGKILL' || code === 137) {
    return failure(
      'TrainerKilled',
      true,
      "nobody here did that: the kernel's memory killer most likely. Give the gpu worker more memory, or lower the rows of the snapshot, features' buckets or training.batchSize. The next try goes on from the last checkpoint",
    );
  }
  if (signal === 'SIGTERM' || signal === 'SIGINT' || code === 143 || code === 130) {
    return failure('TrainerStopped', true, 'somebody else ended it; the next try goes on from its checkpoint');
  }
  switch (code) {
    case 2:
      return failure('TrainerInputError', false, 'correct the config or the data: the same input fails again');
    case 3:
      return failure(
        'TrainerNumericalError',
        false,
        'lower training.learningRate, or look at the numeric features for absurd values: the same numbers fail again',
      );
    case 4:
      return failure(
        'TrainerOutOfMemory',
        false,
        'half the batch did not fit either: lower training.batchSize, or the buckets and dim of features, or take a larger device',
      );
    case 5:
      return { ...failure('TrainerDiskFull', true, DISK_ADVICE), retryAfterMs: DISK_RETRY_MS };
    case 126:
    case 127:
      return failure('TrainerNotFound', false, 'check training.command');
    default:
      return failure('TrainerFailed', true);
  }
}

const DISK_ADVICE =
  'make room for the work folder (FRESHET_WORK_ROOT) and the artifacts (FRESHET_ARTIFACTS); tried again in a minute';

/** What it means that the program could not even be started. */
export function explainStart(error: NodeJS.ErrnoException, command: readonly string[]): TrainerFailure {
  const missing = error.code === 'ENOENT' || error.code === 'EACCES' || error.code === 'ENOEXEC';
  return {
    type: missing ? 'TrainerNotFound' : 'TrainerFailed',
    // Too many processes or files are over in a while; a program that is missing is not.
    retryable: !missing,
    message: `the trainer could not be started: ${error.message}; check training.command (${command.join(' ')}) and, for the reference trainer, FRESHET_PYTHON`,
  };
}

export function explainSilence(silentForMs: number): TrainerFailure {
  return {
    type: 'TrainerHung',
    retryable: true,
    message: `the trainer said nothing for ${String(Math.round(silentForMs / 1_000))} s and was ended: it hangs, or does not print progress lines as the trainer contract asks. The next try goes on from the last checkpoint`,
  };
}

export function contractBroken(message: string): ApplicationFailure {
  return asFailure({ type: 'TrainerContractBroken', retryable: false, message });
}

/**
 * As Temporal takes it. `attempt` and the newest attempt that saved a checkpoint decide whether trying again makes sense:
 * a spot instance may be taken away any number of times, but a training that gets nowhere ends.
 */
export function asFailure(
  { type, message, retryable, retryAfterMs }: TrainerFailure,
  tries?: { attempt: number; checkpointedIn: number },
): ApplicationFailure {
  const inVain = tries === undefined ? 0 : tries.attempt - tries.checkpointedIn;
  const giveUp = inVain >= TRIES_WITHOUT_CHECKPOINT;
  return ApplicationFailure.create({
    type,
    message:
      retryable && giveUp ? `${message} (given up: ${String(inVain)} tries in a row saved no checkpoint)` : message,
    nonRetryable: !retryable || giveUp,
    ...(retryAfterMs === undefined ? {} : { nextRetryDelay: retryAfterMs }),
  });
}

/**
 * What a try ends with, whatever went wrong in it: the tries that got nowhere are counted, so that the last one still gives
 * the reason. What goes wrong because the training was cancelled is its cancellation.
 */
export function endOfTry(
  error: unknown,
  { attempt, checkpointedIn, cancelled }: { attempt: number; checkpointedIn: number; cancelled: boolean },
): unknown {
  if (error instanceof CancelledFailure) return error;
  if (cancelled) return new CancelledFailure(`training was cancelled (${messageOf(error)})`);
  const tries = { attempt, checkpointedIn };
  if (!(error instanceof ApplicationFailure)) {
    const message = `the training could not go on: ${messageOf(error)}`;
    return asFailure({ type: 'TrainingBlocked', message, retryable: true, retryAfterMs: BLOCKED_RETRY_MS }, tries);
  }
  const last = asFailure({ type: error.type as TrainerFailureType, message: error.message, retryable: true }, tries);
  return error.nonRetryable === true || last.nonRetryable !== true ? error : last;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** @throws ApplicationFailure `TrainerKilled` when the workers of so many tries were lost without a word that the training is the likely cause. */
export function refuseEndlessTries(tries: { attempt: number; checkpointedIn: number }): void {
  if (tries.attempt - 1 - tries.checkpointedIn < TRIES_WITHOUT_CHECKPOINT) return;
  throw asFailure({
    type: 'TrainerKilled',
    retryable: false,
    message: `${String(tries.attempt - 1 - tries.checkpointedIn)} tries in a row were lost with their worker before a checkpoint was saved: look at the memory of the gpu workers' machines, or lower training.checkpointEvery`,
  });
}

/** Runs what writes to our own folders: a full disk gets its name, whoever notices it. */
export async function onDisk<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    throw asFailure({
      type: 'TrainerDiskFull',
      retryable: true,
      retryAfterMs: DISK_RETRY_MS,
      message: `no space left on the disk for ${what} (${error.message}); ${DISK_ADVICE}`,
    });
  }
}

export function isDiskFull(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
