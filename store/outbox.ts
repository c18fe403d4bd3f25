import { databaseNow, type Queryable } from './database.ts';
import type { Alert } from './types.ts';

/** Where alerts go. `deliver` resolves when the other side has taken the alert, or when it is none of this channel's. */
export interface AlertChannel {
  /** Stable: remembered with each alert, so that a retry skips the channels that took it. */
  name: string;
  deliver(alert: Alert): Promise<void>;
}

export interface DeliveryReport {
  /** Alerts that every channel has taken. */
  delivered: number;
  failed: { dedupKey: string; error: string }[];
}

const BATCH = 8;
/** Longer than a delivery may take: a deliverer that dies keeps its alerts from the others this long. */
const CLAIM_MS = 60_000;
const DELIVERY_TIMEOUT_MS = 30_000;
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 60_000;

interface OutboxRow {
  id: number;
  alert: Alert;
  attempts: number;
  deliveredChannels: string[];
}

/** Writes an alert with the state change it reports. A second one with its `dedupKey` is the same alert: not written. */
export async function enqueueAlert(tx: Queryable, alert: Alert): Promise<void> {
  await tx.query(
    `insert into outbox (dedup_key, severity, page, alert) values ($1, $2, $3, $4) on conflict (dedup_key) do nothing`,
    [alert.dedupKey, alert.severity, alert.page, JSON.stringify(alert)],
  );
}

/**
 * Delivers the alerts that are due to every channel that has not taken them, and gives each that fails a later time: 1 s
 * doubling to 60 s, for ever. Safe to run in several processes: an alert is claimed by one at a time. Without channels
 * alerts wait. At least once: a process that dies between a channel's yes and recording it makes that channel see the
 * alert again, under the same `dedupKey`.
 *
 * @param now what counts as due; the database's time when left out.
 */
export async function deliverDue(
  db: Queryable,
  { channels, now }: { channels: readonly AlertChannel[]; now?: Date },
): Promise<DeliveryReport> {
  const report: DeliveryReport = { delivered: 0, failed: [] };
  if (channels.length === 0) return report;
  const due = now ?? (await databaseNow(db));
  for (;;) {
    const batch = await claimDue(db, due);
    if (batch.length === 0) return report;
    for (const { row, error } of await Promise.all(batch.map((row) => deliverOne(db, { row, channels, due })))) {
      if (error === null) report.delivered += 1;
      else report.failed.push({ dedupKey: row.alert.dedupKey, error });
    }
  }
}

/** Alerts that some channel has not taken yet, oldest first. */
export async function pendingAlerts(
  db: Queryable,
): Promise<{ alert: Alert; attempts: number; lastError: string | null }[]> {
  const { rows } = await db.query<{ alert: Alert; attempts: number; lastError: string | null }>(
    `select alert, attempts, last_error as "lastError" from outbox where delivered_at is null order by id`,
  );
  return rows;
}

async function claimDue(db: Queryable, due: Date): Promise<OutboxRow[]> {
  const { rows } = await db.query<OutboxRow>(
    `update outbox set attempts = attempts + 1, next_attempt_at = $1::timestamptz + make_interval(secs => $2::float8 / 1000)
     where id in (
       select id from outbox where delivered_at is null and next_attempt_at <= $1 order by id limit $3
       for update skip locked)
     returning id, alert, attempts, delivered_channels as "deliveredChannels"`,
    [due, CLAIM_MS, BATCH],
  );
  return rows;
}

async function deliverOne(
  db: Queryable,
  { row, channels, due }: { row: OutboxRow; channels: readonly AlertChannel[]; due: Date },
): Promise<{ row: OutboxRow; error: string | null }> {
  const waiting = channels.filter((channel) => !row.deliveredChannels.includes(channel.name));
  const errors = await Promise.all(
    waiting.map(async (channel) => {
      try {
        await withTimeout(channel.deliver(row.alert), channel.name);
      } catch (error) {
        return `${channel.name}: ${error instanceof Error ? error.message : String(error)}`;
      }
      await db.query('update outbox set delivered_channels = array_append(delivered_channels, $2) where id = $1', [
        row.id,
        channel.name,
      ]);
      return null;
    }),
  );
  const failures = errors.filter((error) => error !== null);
  const error = failures.length === 0 ? null : failures.join('; ');
  const backoffMs = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (row.attempts - 1));
  await db.query(
    `update outbox set last_error = $2, delivered_at = case when $2::text is null then clock_timestamp() end,
       next_attempt_at = $3::timestamptz + make_interval(secs => $4::float8 / 1000)
     where id = $1`,
    [row.id, error, due, backoffMs],
  );
  return { row, error };
}

async function withTimeout(delivery: Promise<void>, name: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${name} gave no answer within ${String(DELIVERY_TIMEOUT_MS / 1000)} s`));
    }, DELIVERY_TIMEOUT_MS);
  });
  try {
    await Promise.race([delivery, late]);
  } finally {
    clearTimeout(timer);
  }
}
