import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api';
import { z } from 'zod';

/** An in-memory DuckDB, alone with its caller. Close it. */
export interface Duck {
  /** For what the methods here do not cover: streaming, typed columns. */
  readonly connection: DuckDBConnection;
  run(sql: string): Promise<void>;
  /**
   * All rows of a query, each checked by a schema. BIGINT and HUGEINT arrive as numbers while they are exact, else as
   * bigint.
   */
  rows<T>(sql: string, schema: z.ZodType<T>): Promise<T[]>;
  /** The only row of a query. @throws Error when there is not exactly one. */
  row<T>(sql: string, schema: z.ZodType<T>): Promise<T>;
  /** Names and types of a query's columns, without running it. @throws Error with DuckDB's words when it can not be bound. */
  describe(sql: string): Promise<{ name: string; type: string }[]>;
  close(): void;
}

/**
 * Opens an in-memory DuckDB. One thread by default: row order, and with it written bytes, then depend on the query
 * alone. Extensions are never downloaded.
 *
 * @param options.tempDirectory where it spills what does not fit in memory.
 */
export async function openDuckDb(options: { threads?: number; tempDirectory?: string } = {}): Promise<Duck> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: String(options.threads ?? 1),
    autoinstall_known_extensions: 'false',
    ...(options.tempDirectory === undefined ? {} : { temp_directory: options.tempDirectory }),
  });
  const connection = await instance.connect();
  const rows = async <T>(sql: string, schema: z.ZodType<T>): Promise<T[]> => {
    const reader = await connection.runAndReadAll(sql);
    return reader
      .getRowObjectsJS()
      .map((row) => schema.parse(Object.fromEntries(Object.entries(row).map(([name, value]) => [name, exact(value)]))));
  };
  return {
    connection,
    run: async (sql) => {
      await connection.run(sql);
    },
    rows,
    row: async (sql, schema) => {
      const [only, ...others] = await rows(sql, schema);
      if (only === undefined || others.length > 0) throw new Error(`expected exactly one row from: ${sql}`);
      return only;
    },
    describe: async (sql) =>
      (await rows(`DESCRIBE ${sql}`, column)).map((found) => ({ name: found.column_name, type: found.column_type })),
    close: () => {
      connection.closeSync();
      instance.closeSync();
    },
  };
}

const column = z.object({ column_name: z.string(), column_type: z.string() });

function exact(value: unknown): unknown {
  if (typeof value !== 'bigint') return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** A string as an SQL literal. */
export function sqlText(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

/** A name as a quoted SQL identifier. */
export function sqlName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
