import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ArtifactInventory } from '../../store/artifact-inventory.ts';
import { startRetention } from '../../workers/retention-loop.ts';
import { RetentionStage } from '../store/retention-stage.ts';

let stage: RetentionStage;

beforeAll(async () => {
  stage = await RetentionStage.create();
  await stage.history('news', 1);
});
afterAll(() => stage.close());

it('logs what fails and tries again, and ends when it is stopped', async () => {
  const { db, inventory } = stage;
  const logged: string[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) });
  let looks = 0;
  const failing: ArtifactInventory = {
    remove: (name, before) => inventory.remove(name, before),
    list: () => {
      looks += 1;
      if (looks === 1) throw new Error('the disk is away');
      return inventory.list();
    },
  };
  const loop = startRetention({ db, inventory: failing, logger, firstAfterMs: 0, everyMs: 1 });
  await expect.poll(() => looks).toBeGreaterThan(2);
  await loop.stop();
  expect(logged.join()).toContain('the disk is away');
  expect(logged).toHaveLength(1);
});
