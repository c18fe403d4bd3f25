/** Remembers the largest value of each of the last `capacity` distinct keys. */
export class RecentLargest {
  readonly #values = new Map<string, number>();
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Takes a value in; returns the largest that the key had before, null for a new key. */
  raise(key: string, value: number): number | null {
    const before = this.#values.get(key) ?? null;
    this.#values.delete(key);
    this.#values.set(key, before === null ? value : Math.max(before, value));
    if (this.#values.size > this.#capacity) {
      const [oldest] = this.#values.keys();
      if (oldest !== undefined) this.#values.delete(oldest);
    }
    return before;
  }
}
