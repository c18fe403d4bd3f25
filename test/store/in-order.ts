import { transaction, type Database } from '../../store/database.ts';

/** Holds the cycle's row while the writers line up behind it one by one, then lets them go in that order. */
export async function inOrder<T>(db: Database, cycleId: string, writers: readonly (() => Promise<T>)[]): Promise<T[]> {
  const running: Promise<T>[] = [];
  await transaction(db, async (tx) => {
    await tx.query('select from cycles where cycle_id = $1 for update', [cycleId]);
    for (const [index, write] of writers.entries()) {
      running.push(write());
      await waitingForLocks(db, index + 1);
    }
  });
  return Promise.all(running);
}

async function waitingForLocks(db: Database, count: number): Promise<void> {
  for (;;) {
    const { rowCount } = await db.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    if (rowCount === count) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
