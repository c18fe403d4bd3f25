import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { expect, it } from 'vitest';
import { migrate, openDatabase } from '../../store/database.ts';
import { deliverDue } from '../../store/deliveries.ts';
import { enqueueAlert, pendingAlerts, type AlertChannel } from '../../store/outbox.ts';
import { createEmptyDatabase } from '../rig/database.ts';
import { alert } from './stage.ts';

it('0004 takes over which channel has which alert, and goes back', async () => {
  const { url, drop } = await createEmptyDatabase();
  await migrate(url);
  const db = openDatabase(url);
  const took: string[] = [];
  const channel = (name: string, works: boolean): AlertChannel => ({
    name,
    deliver: ({ dedupKey }) => {
      took.push(`${name} ${dedupKey}`);
      return works ? Promise.resolve() : Promise.reject(new Error('down'));
    },
  });
  try {
    await enqueueAlert(db, alert('a'));
    await deliverDue(db, { channels: [channel('slack', true), channel('pagerduty', false)] });
    await migrateTo(url, 'down');
    const { rows } = await db.query(
      'select attempts, delivered_channels as channels, last_error as error, delivered_at as at from outbox',
    );
    expect(rows).toEqual([{ attempts: 1, channels: ['slack'], error: 'pagerduty: down', at: null }]);
    await migrateTo(url, 'up');
    await deliverDue(db, { channels: [channel('slack', true), channel('pagerduty', true)] });
    expect(took.filter((each) => each.startsWith('slack'))).toEqual(['slack a']);
    expect(await pendingAlerts(db)).toEqual([]);
  } finally {
    await db.end();
    await drop();
  }
});

async function migrateTo(url: string, direction: 'up' | 'down'): Promise<void> {
  const dbClient = new pg.Client({ connectionString: url });
  await dbClient.connect();
  const logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
  const dir = fileURLToPath(new URL('../../store/migrations', import.meta.url));
  const file = '0004_alerts';
  await runner({
    dbClient,
    dir,
    migrationsTable: 'freshet_migrations',
    logger,
    direction,
    file,
    checkOrder: false,
    count: 1,
  }).finally(() => dbClient.end());
}
