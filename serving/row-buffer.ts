import type { FeaturizedRows } from './slate-log.ts';

const FIRST_VALUES = 4_096;

/** Collects single rows of many requests, so that they cross to another thread in one piece. */
export class RowBuffer {
  #ids = new BigInt64Array(FIRST_VALUES);
  #dense = new Float32Array(FIRST_VALUES);
  #idCount = 0;
  #denseCount = 0;

  /** Puts a candidate's row behind those that are there: its ids from all of `features`, and its numbers. */
  add(features: readonly FeaturizedRows[], candidate: number): void {
    for (const { featurizer, rows } of features) {
      const [ids, dense] = [featurizer.categorical.length, featurizer.numeric.length];
      this.#makeRoom(ids, dense);
      this.#ids.set(rows.ids.subarray(candidate * ids, (candidate + 1) * ids), this.#idCount);
      this.#dense.set(rows.dense.subarray(candidate * dense, (candidate + 1) * dense), this.#denseCount);
      this.#idCount += ids;
      this.#denseCount += dense;
    }
  }

  /** What was collected, in memory of its own; the buffer is empty afterwards. */
  take(): { ids: BigInt64Array<ArrayBuffer>; dense: Float32Array<ArrayBuffer> } {
    const taken = { ids: this.#ids.slice(0, this.#idCount), dense: this.#dense.slice(0, this.#denseCount) };
    this.#idCount = 0;
    this.#denseCount = 0;
    return taken;
  }

  #makeRoom(ids: number, dense: number): void {
    if (this.#idCount + ids > this.#ids.length) {
      const larger = new BigInt64Array(2 * (this.#idCount + ids));
      larger.set(this.#ids);
      this.#ids = larger;
    }
    if (this.#denseCount + dense > this.#dense.length) {
      const larger = new Float32Array(2 * (this.#denseCount + dense));
      larger.set(this.#dense);
      this.#dense = larger;
    }
  }
}
