import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { Client, Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { reportLateRollback, reportRollbackConfirmed } from '../../activities/late-rollback.ts';
import { applySchedule } from '../../activities/schedule.ts';
import type { RolloutDependencies } from '../../activities/dependencies.ts';
import { scheduleId } from '../../config/names.ts';
import { createGatewayTarget } from '../../integrations/gateway-target.ts';
import { openDatabase } from '../../store/database.ts';
import { openIncidents } from '../../store/incidents.ts';
import { pendingAlerts } from '../../store/outbox.ts';
import { registerProcess } from '../../store/processes.ts';
import type { Alert } from '../../store/types.ts';
import { createTestDatabase, type TestDatabase } from '../rig/database.ts';
import { LINE, lineWithCandidate } from '../store/stage.ts';

let database: TestDatabase;
let connection: Connection;
let client: Client;
const line = `late-${String(process.pid)}`;
const input = { cycleId: 'c1', line, workflowId: 'w', runId: 'r', version: 7, deadlineMs: 180_000 };

beforeAll(async () => {
  database = await createTestDatabase();
  connection = await Connection.connect({ address: inject('temporalAddress') });
  client = new Client({ connection });
  await applySchedule(client, { line, schedule: { every: 3_600_000, catchUp: 3_600_000 } });
});

afterAll(async () => {
  await client.schedule.getHandle(scheduleId(line)).delete();
  await connection.close();
  await database.drop();
});

function dependencies(db: RolloutDependencies['db'], taken: Alert[]): RolloutDependencies {
  const channel = {
    name: 'pager',
    deliver: (alert: Alert) => {
      taken.push(alert);
      return Promise.resolve();
    },
  };
  return {
    ...{ db, temporal: client, serving: createGatewayTarget(db), channels: [channel], prometheusUrl: null },
    ...{ logger: pino({ level: 'silent' }), uiUrl: 'http://ui', codeVersion: 'test' },
  };
}

describe('a rollback that is not confirmed in time', () => {
  it('pages through the outbox and pauses the schedule', async () => {
    const direct: Alert[] = [];

    await reportLateRollback(dependencies(database.db, direct), input);

    const [pending] = await pendingAlerts(database.db);
    expect(pending?.alert).toMatchObject({ dedupKey: 'c1/late', page: true, severity: 'critical' });
    expect(pending?.alert.url).toBe('http://ui/namespaces/default/workflows/w/r');
    expect(direct).toEqual([]);
    expect((await client.schedule.getHandle(scheduleId(line)).describe()).state.paused).toBe(true);
  });

  it('says who has not confirmed, and ends the page once all have', async () => {
    const own = await createTestDatabase();
    try {
      await lineWithCandidate(own.db, { cycleId: 'c' });
      await registerProcess(own.db, { processId: 'gateway-2', line: LINE, boot: 'b' });
      const late = { ...input, cycleId: 'c', line: LINE };
      await reportLateRollback(dependencies(own.db, []), late);
      const paged = (await pendingAlerts(own.db)).at(-1)?.alert;
      expect(paged?.fields).toMatchObject({ version: 7, stable: 1, observed: '1 not confirmed: gateway-2' });
      expect(await openIncidents(own.db, LINE)).toMatchObject([{ key: 'c/late', paged: true }]);

      for (let tries = 0; tries < 2; tries += 1) {
        await reportRollbackConfirmed(dependencies(own.db, []), { ...late, tookMs: 240_400 });
      }

      expect(await openIncidents(own.db, LINE)).toEqual([]);
      const resolutions = (await pendingAlerts(own.db)).filter(({ alert }) => alert.incident?.action === 'resolve');
      expect(resolutions.map(({ alert }) => alert)).toMatchObject([
        { page: true, incident: { key: 'c/late' }, fields: { observed: 'confirmed after 240 s' } },
      ]);
    } finally {
      await own.drop();
    }
  });

  it('pages directly, under the same key, when Postgres is gone', async () => {
    const port = await closedPort();
    const gone = openDatabase(`postgres://nobody@127.0.0.1:${String(port)}/none`);
    const direct: Alert[] = [];

    await reportLateRollback(dependencies(gone, direct), input);

    expect(direct.map(({ dedupKey }) => dedupKey)).toEqual(['c1/late']);
    await gone.end();
  });
});

async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
