import { onlyRow, type Queryable, type Transaction } from './database.ts';
import type { Alert, IncidentRef } from './types.ts';

/** A lasting problem of a line. */
export interface Incident {
  id: number;
  key: string;
  line: string;
  title: string;
  /** How many alerts there were about it. */
  alerts: number;
  /** Whether somebody was woken for it. */
  paged: boolean;
  openedAt: Date;
  lastAt: Date;
}

/** A problem that nobody was woken for does wake somebody once it has been reported so often without having been over. */
const PAGE_FROM = 3;
const COLUMNS = 'id, key, line, title, alerts, paged, opened_at as "openedAt", last_at as "lastAt"';

/** Incidents that are open, of a line or of all of them, oldest first. */
export async function openIncidents(db: Queryable, line: string | null = null): Promise<Incident[]> {
  const { rows } = await db.query<Incident>(
    `select ${COLUMNS} from incidents where resolved_at is null and ($1::text is null or line = $1) order by id`,
    [line],
  );
  return rows;
}

/** Opens or updates the incident of an alert, and returns the alert with how often there was one in a row. */
export async function followIncident(
  tx: Transaction,
  alert: Alert & { incident: Extract<IncidentRef, { action: 'open' }> },
): Promise<Alert> {
  const { incident, line, title, page } = alert;
  const { rows } = await tx.query<Incident>(
    `insert into incidents as i (key, line, stage, title, paged) values ($1, $2, $3, $4, $5)
     on conflict (key) where resolved_at is null do update set alerts = i.alerts + 1, title = excluded.title,
       paged = i.paged or excluded.paged or i.alerts + 1 >= ${String(PAGE_FROM)}, last_at = clock_timestamp()
     returning ${COLUMNS}`,
    [incident.key, line, incident.stage, title, page],
  );
  const { alerts, paged, openedAt } = onlyRow(rows);
  if (alerts === 1) return alert;
  return {
    ...alert,
    page: paged,
    severity: alert.severity === 'info' && paged ? 'warning' : alert.severity,
    title: `${title}, ${String(alerts)} in a row`,
    fields: { ...alert.fields, inARow: alerts, since: openedAt.toISOString() },
  };
}

/** Marks an incident as resolved, if it is open. */
export async function endIncident(tx: Transaction, key: string): Promise<void> {
  await tx.query('update incidents set resolved_at = clock_timestamp() where key = $1 and resolved_at is null', [key]);
}

/**
 * Resolves the open incidents of a line that a cycle got past, and returns the alert of each. One that nobody was woken
 * for is resolved without waking anybody.
 */
export async function resolveEarlier(
  tx: Transaction,
  { line, resolvesBefore, by }: { line: string; resolvesBefore: number; by: Alert },
): Promise<Alert[]> {
  const { rows } = await tx.query<Incident>(
    `update incidents set resolved_at = clock_timestamp() where line = $1 and stage < $2 and resolved_at is null
     returning ${COLUMNS}`,
    [line, resolvesBefore],
  );
  return rows
    .sort((a, b) => a.id - b.id)
    .map(({ id, key, title, alerts, paged, openedAt }) => ({
      dedupKey: `${key}/resolved/${String(id)}`,
      severity: 'info',
      page: paged,
      line,
      title: `Resolved: ${title}`,
      text: `${by.title}. It was open since ${openedAt.toISOString()}${alerts === 1 ? '' : `, with ${String(alerts)} alerts`}.`,
      fields: { alerts, since: openedAt.toISOString() },
      ...(by.url === undefined ? {} : { url: by.url }),
      ...(by.kind === undefined ? {} : { kind: by.kind }),
      incident: { action: 'resolve', key },
    }));
}
