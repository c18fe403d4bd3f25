import { databaseNow, type Queryable } from './database.ts';
import type { AlertChannel, DeliveryFailure } from './outbox.ts';
import type { Alert } from './types.ts';

export interface DeliveryReport {
  /** Alerts that every channel has taken or refused by now. */
  delivered: number;
  /** Tries that succeeded. */
  taken: number;
  /** Tries that failed and will be repeated. */
  failed: { dedupKey: string; error: string }[];
  /** What a channel will never take. */
  refused: { alert: Alert; error: string }[];
}

/** Alerts that did not get through to a channel. */
export interface ChannelAlerts {
  channel: string;
  alerts: number;
  lastError: string;
}

export interface UndeliveredAlerts {
  /** Alerts that are more than a minute old and that nobody has tried to deliver. */
  untried: number;
  waiting: ChannelAlerts[];
  refused: ChannelAlerts[];
}

const BATCH = 8;
/** Longer than a delivery may take: a deliverer that dies keeps its alerts from the others this long. */
const CLAIM_MS = 60_000;
const DELIVERY_TIMEOUT_MS = 30_000;
const FIRST_BACKOFF_MS = 1_000;
const LONGEST_BACKOFF_MS = 60_000;
/** A channel that asks for more is asked again all the same: a page must not wait for hours. */
const LONGEST_HOLD_MS = 600_000;
const THREAD = (alias: string): string => `coalesce(${alias}.alert->'incident'->>'key', ${alias}.dedup_key)`;

interface Claimed {
  id: number;
  alert: Alert;
  attempts: number;
}

/**
 * Delivers the alerts that are due to every channel that has not taken them. Each channel goes at its own pace: a try that
 * fails is repeated after 1 s, doubling to 60 s, for ever; a channel that asks for time (429) gets it; what it refuses for
 * good is not sent again. Alerts about one incident reach a channel in their order. Safe to run in several processes, all
 * with the same channels: an alert is claimed by one at a time. Without channels alerts wait. At least once: a process that dies
 * between a channel's yes and recording it makes that channel see the alert again, under the same `dedupKey`.
 *
 * @param options.only the one channel to deliver to now.
 * @param options.now what counts as due; the database's time when left out.
 * @param options.signal ends it after the tries that are under way.
 */
export async function deliverDue(
  db: Queryable,
  {
    channels,
    only,
    now,
    signal,
  }: { channels: readonly AlertChannel[]; only?: AlertChannel; now?: Date; signal?: AbortSignal },
): Promise<DeliveryReport> {
  const report: DeliveryReport = { delivered: 0, taken: 0, failed: [], refused: [] };
  if (channels.length === 0) return report;
  const due = now ?? (await databaseNow(db));
  const reached = only === undefined ? channels : [only];
  await Promise.all(reached.map((channel) => deliverTo(db, { channel, due, signal, report })));
  const { rowCount } = await db.query(
    `update outbox o set delivered_at = clock_timestamp() where delivered_at is null and not exists (
       select from unnest($1::text[]) c(channel)
         left join deliveries d on d.alert_id = o.id and d.channel = c.channel and d.state <> 'waiting'
       where d.alert_id is null)`,
    [channels.map(({ name }) => name)],
  );
  report.delivered = rowCount ?? 0;
  return report;
}

/** What channels have not taken although it was tried, and what they refused in the last `days`; of a line or of all. */
export async function undeliveredAlerts(
  db: Queryable,
  { line = null, days = 7 }: { line?: string | null; days?: number } = {},
): Promise<UndeliveredAlerts> {
  const { rows } = await db.query<ChannelAlerts & { state: 'waiting' | 'refused' }>(
    `select d.channel, d.state, count(*) as alerts, (array_agg(d.last_error order by d.alert_id desc))[1] as "lastError"
     from deliveries d join outbox o on o.id = d.alert_id
     where d.last_error is not null and ($1::text is null or o.alert->>'line' = $1)
       and (d.state = 'waiting' and o.delivered_at is null
         or d.state = 'refused' and d.settled_at > clock_timestamp() - make_interval(days => $2))
     group by d.channel, d.state order by d.channel`,
    [line, days],
  );
  const of = (wanted: string): ChannelAlerts[] =>
    rows.filter(({ state }) => state === wanted).map(({ state: _state, ...undelivered }) => undelivered);
  const { rowCount } = await db.query(
    `select from outbox o where delivered_at is null and created_at < clock_timestamp() - interval '1 minute'
       and ($1::text is null or alert->>'line' = $1) and not exists (select from deliveries d where d.alert_id = o.id)`,
    [line],
  );
  return { untried: rowCount ?? 0, waiting: of('waiting'), refused: of('refused') };
}

async function deliverTo(
  db: Queryable,
  of: { channel: AlertChannel; due: Date; signal: AbortSignal | undefined; report: DeliveryReport },
): Promise<void> {
  const { channel, due, signal, report } = of;
  while (signal?.aborted !== true) {
    const batch = await claimDue(db, { channel: channel.name, due });
    if (batch.length === 0) return;
    await Promise.all(batch.map((claimed) => deliverOne(db, { channel, due, claimed, report })));
  }
}

/**
 * Claims what is due for a channel: not while the channel asks for time, and of alerts about one incident only the first
 * that it has not settled.
 */
async function claimDue(db: Queryable, { channel, due }: { channel: string; due: Date }): Promise<Claimed[]> {
  const { rows } = await db.query<Claimed>(
    `with claimed as (
       insert into deliveries as d (alert_id, channel, attempts, next_attempt_at)
       select o.id, $1, 1, $2::timestamptz + make_interval(secs => $3::float8 / 1000)
       from outbox o left join deliveries mine on mine.alert_id = o.id and mine.channel = $1
       where o.delivered_at is null
         and (mine.alert_id is null or mine.state = 'waiting' and mine.next_attempt_at <= $2)
         and not exists (select from deliveries h where h.channel = $1 and h.channel_held_until > $2)
         and not exists (
           select from outbox e left join deliveries b on b.alert_id = e.id and b.channel = $1
           where e.delivered_at is null and e.id < o.id and ${THREAD('e')} = ${THREAD('o')}
             and coalesce(b.state, 'waiting') = 'waiting')
       order by o.id limit $4
       on conflict (alert_id, channel) do update set attempts = d.attempts + 1, next_attempt_at = excluded.next_attempt_at
         where d.state = 'waiting' and d.next_attempt_at <= $2
       returning d.alert_id, d.attempts)
     select o.id, o.alert, c.attempts from claimed c join outbox o on o.id = c.alert_id order by o.id`,
    [channel, due, CLAIM_MS, BATCH],
  );
  return rows;
}

async function deliverOne(
  db: Queryable,
  of: { channel: AlertChannel; due: Date; claimed: Claimed; report: DeliveryReport },
): Promise<void> {
  const { channel, due, claimed, report } = of;
  const { id, alert, attempts } = claimed;
  try {
    await withTimeout(channel.deliver(alert), channel.name);
  } catch (error) {
    const { permanent, retryAfterMs } = failureOf(error);
    const message = error instanceof Error ? error.message : String(error);
    const shown = `${channel.name}: ${message}`;
    if (permanent) {
      await settle(db, { id, channel: channel.name, state: 'refused', error: message });
      report.refused.push({ alert, error: shown });
      return;
    }
    const backoffMs = Math.min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (attempts - 1));
    const holdMs = retryAfterMs === null ? null : Math.min(LONGEST_HOLD_MS, retryAfterMs);
    await db.query(
      `update deliveries set last_error = $3, next_attempt_at = $4::timestamptz + make_interval(secs => $5::float8 / 1000),
         channel_held_until = $4::timestamptz + make_interval(secs => $6::float8 / 1000)
       where alert_id = $1 and channel = $2`,
      [id, channel.name, message, due, Math.max(backoffMs, holdMs ?? 0), holdMs],
    );
    report.failed.push({ dedupKey: alert.dedupKey, error: shown });
    return;
  }
  await settle(db, { id, channel: channel.name, state: 'taken', error: null });
  report.taken += 1;
}

async function settle(
  db: Queryable,
  { id, channel, state, error }: { id: number; channel: string; state: 'taken' | 'refused'; error: string | null },
): Promise<void> {
  await db.query(
    `update deliveries set state = $3, last_error = $4, settled_at = clock_timestamp(), channel_held_until = null
     where alert_id = $1 and channel = $2`,
    [id, channel, state, error],
  );
}

function failureOf(error: unknown): DeliveryFailure {
  if (!(error instanceof Error)) return { permanent: false, retryAfterMs: null };
  const { permanent, retryAfterMs } = error as Partial<DeliveryFailure>;
  return {
    permanent: permanent === true,
    retryAfterMs: typeof retryAfterMs === 'number' && retryAfterMs > 0 ? retryAfterMs : null,
  };
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
