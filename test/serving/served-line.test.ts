import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { lineConfigSchema } from '../../config/schema.ts';
import { loadFeatureHash } from '../../features/feature-id.ts';
import { ServedLine, type ServedRoute } from '../../serving/served-line.ts';
import { currentRoute } from '../../store/routes.ts';
import { applyLine } from '../../store/lines.ts';
import { createTestDatabase } from '../rig/database.ts';

const config = lineConfigSchema.parse({ line: 'feed', features: [{ kind: 'numeric', name: 'x' }] });

test('a request that is answered holds up the report of a newer epoch until the answer is on its way', async () => {
  const database = await createTestDatabase();
  await applyLine(database.db, { config, who: 'test' });
  const first = await currentRoute(database.db, 'feed');
  await database.drop();
  const stable = {
    spec: { line: 'feed', version: 0, modelSha256: null, features: [] },
  } as unknown as ServedRoute['stable'];
  const none = { canary: null, holdback: null, shadow: null, leaseUntilMs: -Infinity, source: 'postgres' } as const;
  const onSettled = vi.fn();
  const line = new ServedLine({ config, configHash: 'h', hash: await loadFeatureHash(), onSettled });
  line.adopt({ ...none, route: first, stable });
  const open = line.open();
  line.adopt({ ...none, route: { ...first, epoch: first.epoch + 1 }, stable });
  expect(line.settledEpoch()).toBeNull();

  open?.done();
  // What follows the decision in the same turn (the answer is written then) comes before the report.
  await Promise.resolve();
  expect(line.settledEpoch()).toBeNull();
  expect(onSettled).not.toHaveBeenCalled();
  await nextTurn();
  expect(line.settledEpoch()).toBe(first.epoch + 1);
  expect(onSettled).toHaveBeenCalledOnce();
});
