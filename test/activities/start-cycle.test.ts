import { Client, Connection } from '@temporalio/client';
import { pino } from 'pino';
import { expect, inject, onTestFinished, test } from 'vitest';
import type { RolloutDependencies } from '../../activities/dependencies.ts';
import { applySchedule, deleteSchedules, pauseSchedule } from '../../activities/schedule.ts';
import { startTriggeredCycle } from '../../activities/start-cycle.ts';
import { createGatewayTarget } from '../../integrations/gateway-target.ts';
import { databaseNow } from '../../store/database.ts';
import { readTriggerState } from '../../store/triggers.ts';
import { createTestDatabase } from '../rig/database.ts';
import { LINE, lineWithStable } from '../store/stage.ts';

test('a trigger does not start a cycle when the schedule was paused after it decided', async () => {
  const database = await createTestDatabase();
  const connection = await Connection.connect({ address: inject('temporalAddress') });
  const client = new Client({ connection });
  onTestFinished(async () => {
    await deleteSchedules(client, LINE);
    await connection.close();
    await database.drop();
  });
  await lineWithStable(database.db);
  await applySchedule(client, { line: LINE, schedule: { every: 3_600_000, catchUp: 3_600_000 } });
  await pauseSchedule(client, { line: LINE, note: 'ann: a sale is on' });
  const deps: RolloutDependencies = {
    ...{ db: database.db, logger: pino({ level: 'silent' }), uiUrl: null, codeVersion: 'test' },
    ...{ temporal: client, serving: createGatewayTarget(database.db), channels: [], prometheusUrl: null },
  };
  const decidedAtMs = (await databaseNow(database.db)).getTime() + 1;

  const started = await startTriggeredCycle(deps, {
    ...{ line: LINE, triggers: ['drift'], why: 'it drifts', decidedAtMs, key: 'look' },
  });

  expect(started).toEqual({ kind: 'overtaken', why: expect.stringContaining('ann: a sale is on') as string });
  expect((await readTriggerState(database.db, LINE)).firings).toEqual({});
});
