import type { FeatureRows } from '../features/featurizer.ts';
import { ModelError } from './model-session.ts';
import { allocateBatch, putRows, type RowWidths, type SharedBatch } from './shared-batch.ts';
import type { ThreadAnswer, ThreadRequest } from './thread-protocol.ts';

/** The model gave no answer in the time it had, or has so much waiting that it could not. */
export class ModelTimeout extends ModelError {
  override readonly name = 'ModelTimeout';
}

/** The answer to one request. */
export interface Scoring {
  scores: Float32Array;
  /** Its share, by rows, of the run that it was scored in: what the model costs, without waiting. */
  runMs: number;
}

interface Waiting {
  rows: FeatureRows;
  sinceMs: number;
  resolve(scoring: Scoring): void;
  reject(error: ModelError): void;
}

interface Slot {
  memory: SharedBatch;
  /** Whether the thread has been given the memory. */
  known: boolean;
  /** What the thread is scoring now; empty when it is free. */
  requests: Waiting[];
}

/** Two, so that the thread has the next batch when it is done with one. */
const SLOTS = 2;
/** Of a batch: 20 requests of 50 candidates. A larger one would only delay those behind it. */
const MAX_ROWS = 1_024;
/** So many are worth a message of their own. */
const MIN_ROWS = 200;
/** Room at first: it grows with what comes, since memory that threads share is only given back by the garbage collector. */
const FIRST_ROWS = 256;

/**
 * What waits for one model's thread. Requests that are read in the same turn of the event loop, or while the thread is busy,
 * go out together, as one run. What expires before it is sent is never scored.
 */
export class BatchQueue {
  readonly #title: string;
  readonly #widths: RowWidths;
  readonly #maxWaiting: number;
  readonly #send: (request: ThreadRequest) => void;
  readonly #waiting = new Set<Waiting>();
  readonly #slots: Slot[];
  #waitingRows = 0;
  #turnEnds = false;
  #ended: ModelError | null = null;

  constructor(options: {
    title: string;
    widths: RowWidths;
    maxWaiting: number;
    send: (request: ThreadRequest) => void;
  }) {
    this.#title = options.title;
    this.#widths = options.widths;
    this.#maxWaiting = options.maxWaiting;
    this.#send = options.send;
    this.#slots = Array.from({ length: SLOTS }, () => ({
      memory: allocateBatch(FIRST_ROWS, options.widths),
      known: false,
      requests: [],
    }));
  }

  score(rows: FeatureRows, withinMs: number): Promise<Scoring> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const open = this.#slots.reduce((sum, { requests }) => sum + requests.length, this.#waiting.size);
    if (open >= this.#maxWaiting) {
      return Promise.reject(new ModelTimeout(`${this.#title}: ${String(open)} requests wait for it already`));
    }
    return new Promise<Scoring>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#remove(request);
        reject(new ModelTimeout(`${this.#title}: no answer within ${String(withinMs)} ms`));
      }, withinMs);
      const request: Waiting = {
        rows,
        sinceMs: performance.now(),
        resolve(scoring) {
          clearTimeout(timer);
          resolve(scoring);
        },
        reject(error) {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#waiting.add(request);
      this.#waitingRows += rows.count;
      this.#sendSoon();
    });
  }

  /** The thread has answered a batch. */
  scored({ batch, runMs, problems }: Extract<ThreadAnswer, { kind: 'scored' }>): void {
    const slot = this.#slots[batch];
    if (slot === undefined) return;
    const { requests, memory } = slot;
    const total = requests.reduce((sum, { rows }) => sum + rows.count, 0);
    let at = 0;
    for (const [index, request] of requests.entries()) {
      const problem = problems?.[index] ?? null;
      const end = at + request.rows.count;
      const share = request.rows.count / Math.max(1, total);
      if (problem === null) request.resolve({ scores: memory.scores.slice(at, end), runMs: runMs * share });
      else request.reject(new ModelError(`${this.#title}: ${problem.message}`, problem.kind));
      at = end;
    }
    slot.requests = [];
    this.#sendSoon();
  }

  waitingMs(): number {
    const oldest = this.#slots.flatMap(({ requests }) => requests.slice(0, 1));
    const [next] = this.#waiting;
    if (next !== undefined) oldest.push(next);
    return oldest.length === 0 ? 0 : performance.now() - Math.min(...oldest.map(({ sinceMs }) => sinceMs));
  }

  /** Refuses what waits and what comes. */
  end(problem: string): void {
    this.#ended ??= new ModelError(`${this.#title}: ${problem}`);
    const open = [...this.#slots.flatMap(({ requests }) => requests), ...this.#waiting];
    this.#waiting.clear();
    this.#waitingRows = 0;
    for (const slot of this.#slots) slot.requests = [];
    for (const request of open) request.reject(this.#ended);
  }

  /** Now when enough waits, else when the requests of this turn are all there. */
  #sendSoon(): void {
    if (this.#waitingRows >= MIN_ROWS) this.#sendNext();
    if (this.#waiting.size === 0 || this.#turnEnds) return;
    this.#turnEnds = true;
    setImmediate(() => {
      this.#turnEnds = false;
      this.#sendNext();
    });
  }

  #remove(request: Waiting): void {
    if (this.#waiting.delete(request)) this.#waitingRows -= request.rows.count;
  }

  #sendNext(): void {
    for (const [batch, slot] of this.#slots.entries()) {
      if (this.#waiting.size === 0 || this.#ended !== null) return;
      if (slot.requests.length > 0) continue;
      slot.requests = this.#take();
      const counts = slot.requests.map(({ rows }) => rows.count);
      this.#fill(slot);
      const { buffer, capacity } = slot.memory;
      this.#send({ kind: 'score', batch, counts, ...(slot.known ? {} : { memory: { buffer, capacity } }) });
      slot.known = true;
    }
  }

  /** The next requests that fit into a batch; one at least, however large. */
  #take(): Waiting[] {
    const taken: Waiting[] = [];
    let rows = 0;
    for (const request of this.#waiting) {
      if (taken.length > 0 && rows + request.rows.count > MAX_ROWS) break;
      rows += request.rows.count;
      this.#remove(request);
      taken.push(request);
    }
    return taken;
  }

  #fill(slot: Slot): void {
    const total = slot.requests.reduce((sum, { rows }) => sum + rows.count, 0);
    if (total > slot.memory.capacity) {
      slot.memory = allocateBatch(Math.max(total, 2 * slot.memory.capacity), this.#widths);
      slot.known = false;
    }
    let at = 0;
    for (const { rows } of slot.requests) {
      putRows(slot.memory, { rows, at, widths: this.#widths });
      at += rows.count;
    }
  }
}
