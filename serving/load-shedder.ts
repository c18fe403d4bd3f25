/**
 * Says when a request would wait so long that it is better refused at once: its caller can ask another gateway, and those
 * that are taken are still answered in time.
 *
 * What waits for this thread is read in the same turn of the event loop, one after the other, so a request has waited at
 * least since the first of its turn was taken up.
 */
export class LoadShedder {
  readonly #maxQueueMs: number;
  #turnBeganMs: number | null = null;

  /** @param options.maxQueueMs how long a request may wait before it is worked on. */
  constructor({ maxQueueMs }: { maxQueueMs: number }) {
    this.#maxQueueMs = maxQueueMs;
  }

  /** Whether the request that has just been read is to be refused. */
  refuses(): boolean {
    const nowMs = performance.now();
    if (this.#turnBeganMs === null) {
      this.#turnBeganMs = nowMs;
      setImmediate(() => {
        this.#turnBeganMs = null;
      });
      return false;
    }
    return nowMs - this.#turnBeganMs > this.#maxQueueMs;
  }

  /** Whether a queue whose oldest request has waited `waitingMs` takes no more. */
  isTooLong(waitingMs: number): boolean {
    return waitingMs > this.#maxQueueMs;
  }
}
