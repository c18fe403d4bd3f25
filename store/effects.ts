import { onlyRow, transaction, type Queryable, type Transaction } from './database.ts';

/**
 * Does `effect` once for `key` and returns its result; a repeated key returns the recorded result and does nothing. Two
 * callers with one key at the same time: the second waits for the first. What is returned, the first time too, is the
 * result as JSON keeps it (dates become strings).
 *
 * Holds for writes to this database only: what `effect` does elsewhere happens again when the transaction fails after it.
 */
export async function once<T>(db: Queryable, key: string, effect: (tx: Transaction) => Promise<T>): Promise<T> {
  return transaction(db, async (tx) => {
    const recorded = await recallEffect(tx, key);
    return (recorded === undefined ? await recordEffect(tx, key, await effect(tx)) : recorded) as T;
  });
}

/** The recorded result of `key`, undefined when there is none. Until the transaction ends no other one can record it. */
export async function recallEffect(tx: Transaction, key: string): Promise<unknown> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [key]);
  const { rows } = await tx.query<{ result: unknown }>('select result from effects where key = $1', [key]);
  return rows[0]?.result;
}

/** Records the result of `key` with the writes of this transaction, and returns it as JSON keeps it. */
export async function recordEffect(tx: Transaction, key: string, result: unknown): Promise<unknown> {
  const { rows } = await tx.query<{ result: unknown }>(
    'insert into effects (key, result) values ($1, $2) returning result',
    [key, JSON.stringify(result ?? null)],
  );
  return onlyRow(rows).result;
}
