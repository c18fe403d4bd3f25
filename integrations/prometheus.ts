import axios from 'axios';
import { z } from 'zod';
import { countOf, type MetricAnswer, type MetricProvider } from './metric-provider.ts';

const TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 1_000_000;

const answerSchema = z.discriminatedUnion('status', [
  z.object({
    status: z.literal('success'),
    data: z.discriminatedUnion('resultType', [
      z.object({
        resultType: z.literal('vector'),
        result: z.array(z.object({ value: z.tuple([z.number(), z.string()]) })),
      }),
      z.object({ resultType: z.literal('scalar'), result: z.tuple([z.number(), z.string()]) }),
      z.object({ resultType: z.enum(['matrix', 'string']) }),
    ]),
  }),
  z.object({ status: z.literal('error'), errorType: z.string(), error: z.string() }),
]);

/**
 * Named metrics from Prometheus: each a template of an instant query, in which `{line}`, `{version}` and `{arm}` stand
 * for the variant's. A query must answer exactly one number; aggregate it (`sum(...)`) where there are several series.
 *
 * @param url of the server, with a path prefix if it has one: `http://prometheus:9090`.
 */
export function createPrometheusProvider({
  url,
  queries,
  timeoutMs = TIMEOUT_MS,
}: {
  url: string;
  queries: readonly { name: string; query: string; count?: string | undefined }[];
  timeoutMs?: number;
}): MetricProvider {
  const templates = new Map<string, string>();
  for (const { name, query, count } of queries) {
    templates.set(name, query);
    if (count !== undefined) templates.set(countOf(name), count);
  }
  return {
    async read(metric, { line, version, arm }) {
      const template = templates.get(metric);
      if (template === undefined) {
        return { kind: 'error', code: 'unknownMetric', message: `no query is configured for the metric "${metric}"` };
      }
      const query = template
        .replaceAll('{line}', line)
        .replaceAll('{version}', String(version))
        .replaceAll('{arm}', arm);
      return queryInstant({ url, query, timeoutMs });
    },
  };
}

/** The one number that an instant query answers (`GET /api/v1/query`), or why there is none. Never rejects. */
export async function queryInstant({
  url,
  query,
  timeoutMs = TIMEOUT_MS,
}: {
  url: string;
  query: string;
  timeoutMs?: number;
}): Promise<MetricAnswer> {
  const asked = await ask({ url, query, timeoutMs });
  if (asked.kind === 'error') return asked;
  const { status, body } = asked;
  const parsed = answerSchema.safeParse(body);
  if (!parsed.success) {
    const code = status === 200 ? 'unreadable' : 'refused';
    return failure(code, `answered ${String(status)}, and not as /api/v1/query does; is the URL right?`, url, query);
  }
  if (parsed.data.status === 'error') {
    return failure(
      'refused',
      `answered ${String(status)} (${parsed.data.errorType}): ${parsed.data.error}`,
      url,
      query,
    );
  }
  const { data } = parsed.data;
  if (!('result' in data)) {
    const what = `answered a ${data.resultType}, expected an instant vector of one series or a scalar`;
    return failure('notANumber', what, url, query);
  }
  const samples = data.resultType === 'scalar' ? [data.result] : data.result.map((series) => series.value);
  const [sample, ...others] = samples;
  if (sample === undefined) return failure('empty', 'has no series', url, query);
  if (others.length > 0) {
    return failure('several', `has ${String(samples.length)} series, expected one: aggregate them`, url, query);
  }
  const [seconds, text] = sample;
  const value = Number(text);
  if (!Number.isFinite(value)) return failure('notANumber', `answered ${text}`, url, query);
  return { kind: 'value', value, count: null, at: new Date(seconds * 1_000).toISOString() };
}

type Asked = { kind: 'answered'; status: number; body: unknown } | Extract<MetricAnswer, { kind: 'error' }>;

async function ask({ url, query, timeoutMs }: { url: string; query: string; timeoutMs: number }): Promise<Asked> {
  try {
    const { status, data } = await axios.get<unknown>(`${url.replace(/\/+$/, '')}/api/v1/query`, {
      params: { query },
      timeout: timeoutMs,
      // Also ends an answer that trickles in for longer.
      signal: AbortSignal.timeout(timeoutMs),
      maxContentLength: MAX_ANSWER_BYTES,
      validateStatus: () => true,
    });
    return { kind: 'answered', status, body: data };
  } catch (error) {
    const slow = axios.isCancel(error) || (axios.isAxiosError(error) && error.code === 'ECONNABORTED');
    const why = slow
      ? `no answer within ${String(timeoutMs)} ms`
      : error instanceof Error
        ? error.message
        : String(error);
    return failure('unreachable', `could not be asked: ${why}`, url, query);
  }
}

function failure(
  code: Extract<MetricAnswer, { kind: 'error' }>['code'],
  what: string,
  url: string,
  query: string,
): Extract<MetricAnswer, { kind: 'error' }> {
  return { kind: 'error', code, message: `Prometheus at ${hostOf(url)} ${what} (query: ${query})` };
}

/** Without user, password and path, which may be secret. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'an address that is no URL';
}
