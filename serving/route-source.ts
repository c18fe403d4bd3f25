import pg from 'pg';
import type { Queryable } from '../store/database.ts';

/** What a poll reads of a line besides its route: whether its config changed, and where its event clock stands. */
export interface LineHead {
  line: string;
  configHash: string;
  /** Event time at the query, Unix ms; null while nothing drives the line's event clock. */
  eventMs: number | null;
  rate: number | null;
}

/** Of the named lines, or of all. */
export async function readLineHeads(db: Queryable, lines: readonly string[] | undefined): Promise<LineHead[]> {
  const { rows } = await db.query<LineHead>(
    `select l.line, l.config_hash as "configHash", c.rate,
       (c.event_ms + (extract(epoch from clock_timestamp()) * 1000 - c.operating_ms) * c.rate)::float8 as "eventMs"
     from lines l left join event_clocks c using (line)
     where $1::text[] is null or l.line = any($1) order by l.line`,
    [lines ?? null],
  );
  return rows;
}

/** Listens for moved routes. Only a hint: polling finds every move, this finds it sooner. */
export class RouteAnnouncements {
  readonly #url: string;
  readonly #onMoved: () => void;
  #client: pg.Client | null = null;
  #closed = false;

  constructor(options: { databaseUrl: string; onMoved: () => void }) {
    this.#url = options.databaseUrl;
    this.#onMoved = options.onMoved;
  }

  /** Connects unless it is connected, or trying to. */
  ensure(): void {
    if (this.#closed || this.#client !== null) return;
    const client = new pg.Client({
      connectionString: this.#url,
      connectionTimeoutMillis: 2_000,
      keepAlive: true,
      application_name: 'freshet gateway: routes',
    });
    this.#client = client;
    const drop = (): void => {
      if (this.#client === client) this.#client = null;
      client.end().catch(() => undefined);
    };
    client.on('error', drop);
    client.on('end', drop);
    client.on('notification', this.#onMoved);
    client
      .connect()
      .then(() => client.query('listen freshet_routes'))
      .then(this.#onMoved, drop);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#client?.end().catch(() => undefined);
  }
}
