import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { openEventLogWriter } from '../../data/event-log/writer.ts';
import type { RankAnswer } from '../../serving/ranker.ts';
import { impressionKeyOf } from '../../serving/tokens.ts';
import { rankRequest, World } from './world.ts';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

const SEAL_EVERY_MS = 500;
const HAND_OVER_MS = 20;
/** To write a segment, and for the way of an answer to us. */
const ALLOWANCE_MS = 500;

/** What was answered, and when the answer was there. */
interface Answered {
  atMs: number;
  impressions: string[];
}

async function startGateway(): Promise<{ url: string; kill: () => Promise<void> }> {
  const main = fileURLToPath(new URL('../../serving/main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), main], {
    env: { ...world.environment('crashing'), FRESHET_SEAL_EVERY_MS: String(SEAL_EVERY_MS) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  return {
    url: (JSON.parse(line) as { listening: string }).listening,
    async kill() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Asks for rankings, one after the other, until there is no answer. */
async function load(url: string, answers: Answered[]): Promise<void> {
  for (;;) {
    try {
      const response = await fetch(`${url}/v1/rank`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(rankRequest('u1', [1, 2, 3])),
      });
      const { token, items } = (await response.json()) as RankAnswer;
      const impressions = items.map(({ position }) => impressionKeyOf(token, position));
      answers.push({ atMs: performance.now(), impressions });
    } catch {
      return;
    }
  }
}

/** How long this process, and so probably the gateway, did not get the processor: other tests run at the same time. */
function watchStalls(): { longestMs: number } {
  const stalls = { longestMs: 0 };
  let last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    stalls.longestMs = Math.max(stalls.longestMs, now - last - 20);
    last = now;
  }, 20);
  onTestFinished(() => {
    clearInterval(timer);
  });
  return stalls;
}

test('a gateway that is killed under load loses at most what it had not sealed', async () => {
  await world.firstStable('rising');
  const { url, kill } = await startGateway();
  const answers: Answered[] = [];
  const clients = Array.from({ length: 4 }, () => load(url, answers));
  const stalls = watchStalls();
  const boundMs = (): number => SEAL_EVERY_MS + HAND_OVER_MS + ALLOWANCE_MS + 5 * stalls.longestMs;
  const firstAtMs = (): number => answers[0]?.atMs ?? Infinity;
  while (performance.now() - firstAtMs() < boundMs() + 500) await wait(20);
  const killedAtMs = performance.now();
  await kill();
  await Promise.all(clients);
  // What the process left half-written, its next start publishes.
  await (await openEventLogWriter({ root: join(world.folder, 'log'), processId: 'crashing' })).close();

  const logged = new Set((await world.impressions()).map(({ impressionId }) => impressionId));
  const lost = answers.filter(({ impressions }) => !impressions.every((id) => logged.has(id)));
  const oldestLostMs = Math.max(0, ...lost.map(({ atMs }) => killedAtMs - atMs));

  expect(answers.some(({ atMs }) => killedAtMs - atMs > boundMs())).toBe(true);
  expect(oldestLostMs).toBeLessThan(boundMs());
  // A slate is there whole or not at all.
  expect(lost.every(({ impressions }) => impressions.every((id) => !logged.has(id)))).toBe(true);
}, 90_000);
