import { createHash } from 'node:crypto';
import { lineConfigSchema, type LineConfig } from '../config/schema.ts';
import { onlyRow, transaction, type Queryable } from './database.ts';
import { INPUT_ORDER_VERSION } from './types.ts';

export interface LineRecord {
  line: string;
  /** The config in force. Cycles freeze a copy of it when they begin. */
  config: LineConfig;
  configHash: string;
  appliedBy: string;
  appliedAt: Date;
}

export type LineApplied = { kind: 'created' | 'updated' | 'unchanged'; line: LineRecord };

const COLUMNS = `line, config, config_hash as "configHash", applied_by as "appliedBy", applied_at as "appliedAt"`;

/**
 * Puts a line's config in force. A new line gets version 0 as its stable and the route of epoch 1 in the same
 * transaction, so that no line is ever without exactly one stable. Running cycles keep the config they froze.
 */
export async function applyLine(
  db: Queryable,
  { config, who }: { config: LineConfig; who: string },
): Promise<LineApplied> {
  const hash = configHash(config);
  return transaction(db, async (tx) => {
    const inserted = await tx.query(
      `insert into lines (line, config, config_hash, applied_by) values ($1, $2, $3, $4) on conflict (line) do nothing`,
      [config.line, JSON.stringify(config), hash, who],
    );
    if (inserted.rowCount === 1) {
      await createInputOrderRoute(tx, config.line, who);
      return { kind: 'created', line: await readLine(tx, config.line) };
    }
    const updated = await tx.query(
      `update lines set config = $2, config_hash = $3, applied_by = $4, applied_at = clock_timestamp()
       where line = $1 and config_hash <> $3`,
      [config.line, JSON.stringify(config), hash, who],
    );
    return { kind: updated.rowCount === 1 ? 'updated' : 'unchanged', line: await readLine(tx, config.line) };
  });
}

/** @throws Error naming the lines there are, when `line` is not one of them. */
export async function readLine(db: Queryable, line: string): Promise<LineRecord> {
  const { rows } = await db.query<LineRecord>(`select ${COLUMNS} from lines where line = $1`, [line]);
  if (rows[0] === undefined) throw await unknownLine(db, line);
  return parsed(onlyRow(rows));
}

/** All lines by name. */
export async function listLines(db: Queryable): Promise<LineRecord[]> {
  const { rows } = await db.query<LineRecord>(`select ${COLUMNS} from lines order by line`);
  return rows.map(parsed);
}

/** The error for a line that was never applied. */
export async function unknownLine(db: Queryable, line: string): Promise<Error> {
  const { rows } = await db.query<{ line: string }>('select line from lines order by line limit 20');
  const known = rows.length === 0 ? 'there are none yet' : `there are ${rows.map((row) => row.line).join(', ')}`;
  return new Error(`no model line "${line}": ${known}. Apply its config first`);
}

/** sha256 of a config, the same whatever the order of its keys. */
export function configHash(config: LineConfig): string {
  return createHash('sha256').update(JSON.stringify(config, sortKeys)).digest('hex');
}

function sortKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A config that an older build stored gets the defaults of fields that came since. */
function parsed(row: LineRecord): LineRecord {
  const result = lineConfigSchema.safeParse(row.config);
  if (result.success) return { ...row, config: result.data };
  const [issue] = result.error.issues;
  const where = `${(issue?.path ?? []).join('.')}: ${issue?.message ?? 'invalid'}`;
  throw new Error(`the stored config of line "${row.line}" does not fit this build (${where}): apply its config again`);
}

async function createInputOrderRoute(db: Queryable, line: string, who: string): Promise<void> {
  await db.query(`insert into versions (line, version, status) values ($1, $2, 'stable')`, [line, INPUT_ORDER_VERSION]);
  await db.query(
    `insert into routes (line, epoch, stable, salt, who, why)
     values ($1, 1, $2, $1, $3, 'new line: the input''s order is kept until a first version is trained')`,
    [line, INPUT_ORDER_VERSION, who],
  );
  await db.query('insert into route_heads (line, epoch) values ($1, 1)', [line]);
}
