import { transaction, type Queryable, type Transaction } from './database.ts';
import { endIncident, followIncident, resolveEarlier } from './incidents.ts';
import type { Alert } from './types.ts';

/** Where alerts go. */
export interface AlertChannel {
  /** Stable: remembered with each alert, so that a retry skips the channels that took it. */
  name: string;
  /**
   * Resolves when the other side has taken the alert, or when it is none of this channel's. Otherwise rejects, with an
   * error that may say more (`DeliveryFailure`); one that does not is tried again.
   */
  deliver(alert: Alert): Promise<void>;
}

/** What an error of a channel may tell. */
export interface DeliveryFailure {
  /** The other side will never take this alert: it is not tried again. */
  permanent: boolean;
  /** The other side asks to be left alone this long, with other alerts too; null when it does not say. */
  retryAfterMs: number | null;
}

/**
 * Writes an alert with the state change it reports. A second one with its `dedupKey` is the same alert: not written. In
 * the same transaction the alert's incident is opened, updated or resolved, and those are resolved that it ends.
 */
export async function enqueueAlert(db: Queryable, alert: Alert): Promise<void> {
  await transaction(db, async (tx) => {
    const id = await insert(tx, alert);
    if (id === null) return;
    if (alert.incident?.action === 'open') {
      const told = await followIncident(tx, { ...alert, incident: alert.incident });
      await tx.query('update outbox set alert = $2, page = $3 where id = $1', [id, JSON.stringify(told), told.page]);
    }
    if (alert.incident?.action === 'resolve') await endIncident(tx, alert.incident.key);
    if (alert.resolvesBefore === undefined) return;
    const { line, resolvesBefore } = alert;
    for (const over of await resolveEarlier(tx, { line, resolvesBefore, by: alert })) await insert(tx, over);
  });
}

/** Alerts that some channel has neither taken nor refused yet, oldest first. */
export async function pendingAlerts(
  db: Queryable,
): Promise<{ alert: Alert; attempts: number; lastError: string | null }[]> {
  const { rows } = await db.query<{ alert: Alert; attempts: number; lastError: string | null }>(
    `select o.alert, coalesce(max(d.attempts), 0) as attempts,
       string_agg(d.channel || ': ' || d.last_error, '; ' order by d.channel) as "lastError"
     from outbox o left join deliveries d on d.alert_id = o.id
     where o.delivered_at is null group by o.id order by o.id`,
  );
  return rows;
}

/** The new row's id; null when the alert is known. */
async function insert(tx: Transaction, alert: Alert): Promise<number | null> {
  const { rows } = await tx.query<{ id: number }>(
    `insert into outbox (dedup_key, severity, page, alert) values ($1, $2, $3, $4)
     on conflict (dedup_key) do nothing returning id`,
    [alert.dedupKey, alert.severity, alert.page, JSON.stringify(alert)],
  );
  return rows[0]?.id ?? null;
}
