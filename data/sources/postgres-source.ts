import type { PostgresSourceConfig } from '../../config/source-section.ts';
import type { Duck } from '../duckdb.ts';
import type { DataSource, SourceRange, SourceReading } from './data-source.ts';
import { mapFeedback, mapRows } from './map-rows.ts';
import { addressFrom, readOnly, type Session } from './postgres-session.ts';
import {
  feedbackWanted,
  findColumns,
  impressionsWanted,
  sortedByName,
  type FoundColumns,
  type Wanted,
} from './source-columns.ts';

/**
 * A query on a Postgres of the user's, run read only in one repeatable-read transaction, which is also where its own count
 * is taken, by `count(*)`: what others write meanwhile is not seen.
 */
export function postgresSource(config: PostgresSourceConfig, env: { processEnv: NodeJS.ProcessEnv }): DataSource {
  return {
    async load(db, range, features): Promise<SourceReading> {
      const address = addressFrom(config.urlFrom, env.processEnv);
      const { columns, feedback } = config;
      return readOnly({ address, timeoutMs: config.timeout }, async (session) => {
        const where = `query of the source (${address.location})`;
        const read = await readQuery(db, session, {
          query: config.query,
          name: 'source_raw',
          where,
          range,
          wanted: impressionsWanted(columns, features, range.dropped),
        });
        const rows = await session.count(withTimes(config.query, range));
        const base = { line: range.line, times: config };
        await mapRows(db, { ...base, ...read, where, columns, features });
        await drop(db, 'source_raw');
        if (feedback !== undefined) {
          const name = 'feedback_raw';
          const wanted = feedbackWanted(feedback.columns);
          const place = `feedback ${where}`;
          const found = await readQuery(db, session, { query: feedback.query, name, where: place, range, wanted });
          await mapFeedback(db, { ...base, ...found, where: place, columns: feedback.columns });
          await drop(db, name);
        }
        return { kind: 'postgres', location: address.location, rows, columns: sortedByName(read.columns) };
      });
    },
  };
}

/** Numbers are all that is put in, so that nothing can be smuggled. `::` before a name is a cast. */
function withTimes(query: string, range: SourceRange): string {
  return query
    .replace(/;\s*$/, '')
    .replace(/(?<![:\w]):from_ms\b/g, `${String(Math.floor(range.fromMs))}::bigint`)
    .replace(/(?<![:\w]):to_ms\b/g, `${String(Math.floor(range.toMs))}::bigint`);
}

/** Loads a query's wanted columns as text into a table, and a view on it with DuckDB's types. */
async function readQuery(
  db: Duck,
  session: Session,
  input: { query: string; name: string; where: string; range: SourceRange; wanted: Wanted[] },
): Promise<{ relation: string; found: FoundColumns; columns: { name: string; type: string }[] }> {
  const cursor = await session.open(withTimes(input.query, input.range));
  const { columns } = cursor;
  const found = findColumns({ where: input.where, columns }, input.wanted);
  const kept = [...new Set([...found.values()].map(({ name }) => name))];
  await cursor.into(db, { table: `${input.name}_text`, view: input.name, columns: kept });
  return { relation: input.name, found, columns };
}

async function drop(db: Duck, name: string): Promise<void> {
  await db.run(`DROP VIEW ${name}`);
  await db.run(`DROP TABLE ${name}_text`);
}
