import type { LineConfig } from '../../config/schema.ts';
import type { DataSource } from './data-source.ts';
import { eventLogSource } from './event-log-source.ts';
import { lakeSource } from './lake-source.ts';
import { postgresSource } from './postgres-source.ts';

export type { DataSource, SourceRange, SourceReading } from './data-source.ts';

/** What a source needs besides the line's config. */
export interface SourceEnvironment {
  /** Root folder of the gateways' event log. */
  logRoot: string;
  /** `FRESHET_DATA` is what `{data}` stands for; a Postgres address stands in the variable that the config names. */
  processEnv: NodeJS.ProcessEnv;
}

/** The source that a line's config names. Nothing is opened before it loads. */
export function sourceOf(config: Pick<LineConfig, 'source'>, env: SourceEnvironment): DataSource {
  const { source } = config;
  switch (source.kind) {
    case 'eventLog':
      return eventLogSource({ root: env.logRoot });
    case 'lake':
      return lakeSource(source, { data: env.processEnv['FRESHET_DATA'] });
    case 'postgres':
      return postgresSource(source, { processEnv: env.processEnv });
  }
}
