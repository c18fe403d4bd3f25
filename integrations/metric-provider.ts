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
    limits.map(async ({ name, count, minCount, min, max }): Promise<ExternalReading> => {
      const unread = { name, min, max, value: null, count: null, at: null };
      if (provider === null) return { ...unread, error: 'no Prometheus is configured: set PROMETHEUS_URL' };
      const [answer, counted] = await Promise.all([
        provider.read(name, variant),
        count === undefined ? null : provider.read(countOf(name), variant),
      ]);
      if (counted?.kind === 'error') return { ...unread, error: `its count: ${counted.message}` };
      const known = counted === null ? {} : { count: counted.value, minCount };
      if (answer.kind === 'error') {
        // What too few observations explain is not the source's error.
        const explained = answer.code === 'empty' || answer.code === 'notANumber';
        return { ...unread, ...(explained ? known : {}), error: answer.message };
      }
      return { name, min, max, value: answer.value, count: answer.count, at: answer.at, ...known };
    }),
  );
}

/** What a provider is asked for the number of observations behind a metric. No metric's name has a dot. */
export function countOf(metric: string): string {
  return `${metric}.count`;
}
