import { hostname } from 'node:os';
import { Context } from '@temporalio/activity';
import { z } from 'zod';
import type { TrainerLine } from './trainer-process.ts';

/** Also without news from the trainer: a slow start is no hang, and a cancellation is heard with the answer. */
const HEARTBEAT_EVERY_MS = 1_000;

const keptCheckpoint = z.object({
  sha256: z.string().length(64),
  /** Its path in the work folder of the trainer. */
  file: z.string(),
  epoch: z.number(),
  step: z.number(),
  /** When the attempt that saved it was scheduled, by Temporal's clock: what tells its age on any machine. */
  attemptAtMs: z.number(),
});
/** A checkpoint that any machine can get from the scratch artifacts of the cycle. */
export type KeptCheckpoint = z.infer<typeof keptCheckpoint>;

/** Details of a training's heartbeats: what the Temporal UI shows, and what the next attempt goes on from. */
export interface TrainingHeartbeat {
  state: 'preparing' | 'waitingForDevice' | 'training' | 'ending';
  attempt: number;
  host: string;
  device: string | null;
  epoch?: number;
  epochs?: number;
  step?: number;
  steps?: number;
  samplesPerSecond?: number;
  loss?: number | null;
  /** ISO 8601; null while it is not known. */
  expectedEnd: string | null;
  checkpoint: KeptCheckpoint | null;
  /** The newest attempt that saved a checkpoint; 0: none did. */
  checkpointedIn: number;
}

const earlierDetails = z.looseObject({
  checkpoint: keptCheckpoint.nullable().catch(null),
  checkpointedIn: z.number().int().nonnegative().catch(0),
});

/** Beats once a second with what is known, beginning with what the attempt before had told. */
export class TrainingHeartbeats {
  readonly #timer: NodeJS.Timeout;
  #details: TrainingHeartbeat;

  constructor() {
    const { info } = Context.current();
    const earlier = earlierDetails.safeParse(info.heartbeatDetails).data;
    this.#details = {
      state: 'preparing',
      attempt: info.attempt,
      host: hostname(),
      device: null,
      expectedEnd: null,
      checkpoint: earlier?.checkpoint ?? null,
      checkpointedIn: earlier?.checkpointedIn ?? 0,
    };
    this.#timer = setInterval(() => {
      this.#beat();
    }, HEARTBEAT_EVERY_MS);
    this.#beat();
  }

  get details(): TrainingHeartbeat {
    return this.#details;
  }

  tell(news: Partial<TrainingHeartbeat>): void {
    this.#details = { ...this.#details, ...news };
    this.#beat();
  }

  heard(line: TrainerLine): void {
    if (line.type === 'checkpoint') this.tell({ checkpointedIn: this.#details.attempt });
    if (line.type !== 'progress') return;
    const { epoch, epochs, step, steps, samplesPerSecond, loss, etaSeconds } = line;
    const expectedEnd = etaSeconds === null ? null : isoIn(etaSeconds);
    this.tell({ epoch, epochs, step, steps, samplesPerSecond, loss, expectedEnd });
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    Context.current().heartbeat(this.#details);
  }
}

/** Null for what is no time: a trainer may well say 1e300 seconds. */
function isoIn(seconds: number): string | null {
  const end = new Date(Date.now() + seconds * 1_000);
  return Number.isNaN(end.getTime()) ? null : end.toISOString();
}
