interface Entry<T> {
  dueMs: number;
  order: number;
  item: T;
}

/** A priority queue by due time; items of the same time leave in the order they came. A binary heap. */
export class DueQueue<T> {
  readonly #heap: Entry<T>[] = [];
  #pushed = 0;

  get size(): number {
    return this.#heap.length;
  }

  push(dueMs: number, item: T): void {
    const entry = { dueMs, order: this.#pushed++, item };
    let index = this.#heap.length;
    while (index > 0) {
      const parent = this.#heap[(index - 1) >> 1];
      if (parent === undefined || before(parent, entry)) break;
      this.#heap[index] = parent;
      index = (index - 1) >> 1;
    }
    this.#heap[index] = entry;
  }

  /** Takes out up to `limit` items that are due by `nowMs`, the earliest first. */
  takeDue(nowMs: number, limit = Infinity): T[] {
    const due: T[] = [];
    for (
      let first = this.#heap[0];
      first !== undefined && first.dueMs <= nowMs && due.length < limit;
      first = this.#heap[0]
    ) {
      due.push(first.item);
      this.#removeFirst();
    }
    return due;
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = this.#heap[2 * index + 1];
      const right = this.#heap[2 * index + 2];
      const goesRight = left !== undefined && right !== undefined && before(right, left);
      const child = goesRight ? right : left;
      if (child === undefined || before(last, child)) break;
      this.#heap[index] = child;
      index = goesRight ? 2 * index + 2 : 2 * index + 1;
    }
    this.#heap[index] = last;
  }
}

function before<T>(a: Entry<T>, b: Entry<T>): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);
}
