import type { HealthConfig } from '../config/schema.ts';
import type { ExternalReading } from '../policy/health.ts';

/** Whose metric it is. */
export interface Variant {
  line: string;
  version: number;
  arm: string;
}

/**
 * The answer to one question. `count` is the number of observations behind the value, null where the source does not
 * say; `at` is the ISO time of the value. An error is of the source, never of the model: a check that meets one is
 * `unknown`.
 */
export type MetricAnswer =
  | { kind: 'value'; value: number; count: number | null; at: string }
  | {
      kind: 'error';
      /** `unreachable`: no answer in time; `refused`: an answer that is an error; `unreadable`: not this API's answer. */
      code: 'unreachable' | 'refused' | 'unreadable' | 'empty' | 'several' | 'notANumber' | 'unknownMetric';
      message: string;
    };

/** Where health checks read named metrics from. */
export interface MetricProvider {
  /** Never rejects: what goes wrong is an answer, too. */
  read(metric: string, variant: Variant): Promise<MetricAnswer>;
}

/**
 * Reads each limit of a line for its canary, all at once, as a health check takes them.
 *
 * @param provider null when none is configured: then no limit can be known, and the checks say so.
 */
export async function readLimits({
  provider,
  limits,
  variant,
}: {
  provider: MetricProvider | null;
  limits: HealthConfig['prometheus'];
  variant: Variant;
}): Promise<ExternalReading[]> {
  return Promise.all(
    limits.map(async ({ name, min, max }): Promise<ExternalReading> => {
      const unread = { name, min, max, value: null, count: null, at: null };
      if (provider === null) return { ...unread, error: 'no Prometheus is configured: set PROMETHEUS_URL' };
      const answer = await provider.read(name, variant);
      if (answer.kind === 'error') return { ...unread, error: answer.message };
      return { name, min, max, value: answer.value, count: answer.count, at: answer.at };
    }),
  );
}
