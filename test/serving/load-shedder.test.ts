import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { LoadShedder } from '../../serving/load-shedder.ts';

/** Keeps the thread, as work on requests does. */
function work(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('what has waited behind the work of its turn for too long is refused, and the next turn starts anew', async () => {
  const shedder = new LoadShedder({ maxQueueMs: 10 });
  expect(shedder.refuses()).toBe(false);
  work(15);
  expect(shedder.refuses()).toBe(true);
  await turn();
  expect(shedder.refuses()).toBe(false);
  await turn();
  work(15);
  // However long the thread was busy with other things: nothing says that this request waited.
  expect(shedder.refuses()).toBe(false);
});
