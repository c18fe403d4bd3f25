import { recordDecision } from './decisions.ts';
import { onlyRow, transaction, type Queryable } from './database.ts';
import { currentRoute, lockHead } from './route-head.ts';
import { readVersion } from './versions.ts';

/** A name for a version. It stays where it was put until somebody moves it. */
export interface Alias {
  line: string;
  alias: string;
  version: number;
  who: string;
  why: string;
  at: Date;
}

const COLUMNS = 'line, alias, version, who, why, at';
/** Names whose version the route gives. */
const ROUTED = ['stable', 'canary', 'shadow'] as const;
/** The newest version, whatever its status. */
const LATEST = 'latest';

/**
 * Puts an alias on a version, taking it from the one that has it (`previous`; null when none had). On record as a
 * decision, unless the alias is there already: then nothing is written.
 *
 * @throws Error when the name is none or reserved, or the line has no such version.
 */
export async function setAlias(
  db: Queryable,
  { line, alias, version, who, why }: Omit<Alias, 'at'>,
): Promise<{ alias: Alias; previous: number | null }> {
  checkName(alias);
  return transaction(db, async (tx) => {
    await lockHead(tx, line);
    await readVersion(tx, { line, version });
    const before = await findAlias(tx, { line, alias });
    if (before?.version === version) return { alias: before, previous: version };
    const { rows } = await tx.query<Alias>(
      `insert into aliases (line, alias, version, who, why) values ($1, $2, $3, $4, $5)
       on conflict (line, alias) do update set version = excluded.version, who = excluded.who, why = excluded.why, at = excluded.at
       returning ${COLUMNS}`,
      [line, alias, version, who, why],
    );
    const previous = before?.version ?? null;
    await recordDecision(tx, { line, version, kind: 'aliasSet', who, why, details: { alias, previous } });
    return { alias: onlyRow(rows), previous };
  });
}

/**
 * Removes an alias, which is returned; on record as a decision.
 *
 * @throws Error when there is no such alias.
 */
export async function removeAlias(
  db: Queryable,
  { line, alias, who, why }: Omit<Alias, 'at' | 'version'>,
): Promise<Alias> {
  return transaction(db, async (tx) => {
    await lockHead(tx, line);
    const { rows } = await tx.query<Alias>(`delete from aliases where line = $1 and alias = $2 returning ${COLUMNS}`, [
      line,
      alias,
    ]);
    const [removed] = rows;
    if (removed === undefined) throw new Error(`line "${line}" has no alias "${alias}": ${await known(tx, line)}`);
    await recordDecision(tx, { line, version: removed.version, kind: 'aliasRemoved', who, why, details: { alias } });
    return removed;
  });
}

/** The aliases of a line, or those of one of its versions, by name. */
export async function listAliases(
  db: Queryable,
  { line, version }: { line: string; version?: number },
): Promise<Alias[]> {
  const { rows } = await db.query<Alias>(
    `select ${COLUMNS} from aliases where line = $1 and ($2::int is null or version = $2) order by alias`,
    [line, version ?? null],
  );
  return rows;
}

/**
 * The version that people mean: a number (`12` or `v12`), an alias, `stable`, `canary` or `shadow` of the route in force,
 * or `latest`, the newest whatever became of it.
 *
 * @throws Error that names the aliases there are, when nothing is called so, the route has no such arm or the line no
 * such version.
 */
export async function resolveVersion(
  db: Queryable,
  { line, version: name }: { line: string; version: string },
): Promise<number> {
  const number = /^v?(\d{1,9})$/.exec(name)?.[1];
  if (number !== undefined) return (await readVersion(db, { line, version: Number(number) })).version;
  const route = await currentRoute(db, line);
  const arm = ROUTED.find((routed) => routed === name);
  if (arm !== undefined) {
    const version = route[arm];
    if (version === null) throw new Error(`line "${line}" has no ${arm} now; "freshet status ${line}" shows its route`);
    return version;
  }
  if (name === LATEST) {
    const { rows } = await db.query<{ version: number }>(
      'select max(version) as version from versions where line = $1',
      [line],
    );
    return onlyRow(rows).version;
  }
  const found = await findAlias(db, { line, alias: name });
  if (found !== null) return found.version;
  const expected = 'expected a number, an alias, stable, canary, shadow or latest';
  throw new Error(`line "${line}" has no version "${name}": ${expected}; ${await known(db, line)}`);
}

async function findAlias(db: Queryable, { line, alias }: { line: string; alias: string }): Promise<Alias | null> {
  const { rows } = await db.query<Alias>(`select ${COLUMNS} from aliases where line = $1 and alias = $2`, [
    line,
    alias,
  ]);
  return rows[0] ?? null;
}

function checkName(alias: string): void {
  const wrong = (why: string): Error => new Error(`"${alias}" can not be an alias: ${why}`);
  if (ROUTED.some((arm) => arm === alias)) throw wrong('the route says which version it is');
  if (alias === LATEST) throw wrong('it is the newest version');
  if (/^v\d+$/.test(alias)) throw wrong('it reads like the number of a version');
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(alias))
    throw wrong('expected a small letter, then up to 62 small letters, digits or hyphens');
}

async function known(db: Queryable, line: string): Promise<string> {
  const aliases = await listAliases(db, { line });
  if (aliases.length === 0) return 'it has no aliases yet';
  return `its aliases are ${aliases.map(({ alias, version }) => `${alias} (version ${String(version)})`).join(', ')}`;
}
