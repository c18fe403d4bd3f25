import Fastify, { type FastifyError, type FastifyInstance } from 'fastify';
import type { FeedbackTaker } from './feedback.ts';
import type { LoadShedder } from './load-shedder.ts';
import type { GatewayMetrics } from './metrics.ts';
import { OVERLOADED, type Ranker } from './ranker.ts';
import {
  acceptRankRequest,
  parseFeedbackRequest,
  parseRankRequest,
  RANK_BODY_SCHEMA,
  RefusedRequest,
  type RankBody,
} from './requests.ts';
import type { ServedLine } from './served-line.ts';
import type { ShadowMirror } from './shadow-mirror.ts';

export interface HttpApiOptions {
  ranker: Ranker;
  feedback: FeedbackTaker;
  metrics: GatewayMetrics;
  /** The line by name, looked for in Postgres once more when it is not known yet. @throws RefusedRequest 404. */
  findLine: (line: string) => Promise<{ line: ServedLine; mirror: ShadowMirror }>;
  /** Why there should be no traffic; empty when ready. */
  unready: () => string[];
  postgresUp: () => boolean;
  bodyLimitBytes: number;
  shedder: LoadShedder;
}

const number = { type: 'number' };
const string = { type: 'string' };
const RANK_ANSWER_SCHEMA = {
  type: 'object',
  properties: {
    ...{ requestId: string, version: number, arm: string, epoch: number, token: string },
    items: { type: 'array', items: { type: 'object', properties: { id: string, score: number, position: number } } },
  },
};
/** The schema says what is accepted and changes nothing. */
const AS_IT_IS = { removeAdditional: false, coerceTypes: false, useDefaults: false } as const;

/** The gateway's HTTP interface. Errors are `{ error, path? }` and never show a stack. */
export function createHttpApi(options: HttpApiOptions): FastifyInstance {
  const { ranker, feedback, metrics, findLine, unready, postgresUp, bodyLimitBytes, shedder } = options;
  const app = Fastify({ logger: false, bodyLimit: bodyLimitBytes, ajv: { customOptions: AS_IT_IS } });

  // Without the search for keys such as "__proto__": values are only ever read as own properties of what was parsed.
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    try {
      done(null, JSON.parse(String(body)));
    } catch {
      done(new RefusedRequest(400, 'the request body is not JSON'));
    }
  });

  app.post<{ Body: RankBody }>(
    '/v1/rank',
    {
      schema: { body: RANK_BODY_SCHEMA, response: { 200: RANK_ANSWER_SCHEMA } },
      attachValidation: true,
      onRequest: (_request, _reply, done) => {
        // Before the body is parsed: that is most of the work.
        done(shedder.refuses() ? new RefusedRequest(503, OVERLOADED) : undefined);
      },
    },
    async (request) => {
      const { body, validationError } = request;
      const asked = validationError === undefined ? acceptRankRequest(body) : parseRankRequest(body);
      return ranker.rank(asked, await findLine(asked.line));
    },
  );

  app.post('/v1/feedback', (request, reply) => reply.send(feedback.take(parseFeedbackRequest(request.body).events)));

  app.get<{ Querystring: { line?: string } }>('/v1/route', async (request) => {
    const name = request.query.line;
    if (typeof name !== 'string')
      throw new RefusedRequest(400, 'line: name the line, as in /v1/route?line=news-feed', 'line');
    const { line } = await findLine(name);
    return shownRoute(line);
  });

  app.get('/healthz', () => ({ status: 'ok' }));

  app.get('/readyz', (_request, reply) => {
    const reasons = unready();
    const postgres = postgresUp() ? 'up' : 'unreachable';
    return reply
      .code(reasons.length === 0 ? 200 : 503)
      .send({ status: reasons.length === 0 ? 'ready' : 'not ready', reasons, postgres });
  });

  app.get('/metrics', async (_request, reply) => {
    const text = await metrics.register.metrics();
    return reply.type(metrics.register.contentType).send(text);
  });

  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send({
      error: `no ${request.method} ${request.url.split('?')[0] ?? ''} here: POST /v1/rank, POST /v1/feedback, GET /v1/route?line=, /healthz, /readyz, /metrics`,
    }),
  );

  app.setErrorHandler((error: FastifyError | RefusedRequest, _request, reply) => {
    const status = error.statusCode !== undefined && error.statusCode >= 400 ? error.statusCode : 500;
    metrics.refused.inc({ status: String(status) });
    if (status === 503) void reply.header('retry-after', '1');
    return reply.code(status).send(errorBody(error, { status, bodyLimitBytes }));
  });

  return app;
}

function errorBody(
  error: FastifyError | RefusedRequest,
  { status, bodyLimitBytes }: { status: number; bodyLimitBytes: number },
): { error: string; path?: string } {
  if (error instanceof RefusedRequest)
    return { error: error.message, ...(error.path === null ? {} : { path: error.path }) };
  if (status === 413) {
    return {
      error: `the request body is larger than ${String(bodyLimitBytes)} bytes: send fewer candidates or features`,
    };
  }
  if (status === 415) return { error: 'expected a JSON body with content-type: application/json' };
  if (status < 500) return { error: error.message };
  return { error: 'the gateway failed on this request; its log says why' };
}

function shownRoute(line: ServedLine) {
  const { served } = line;
  if (served === null)
    throw new RefusedRequest(503, `line "${line.line}" has no version loaded yet: try again in a moment`);
  const { epoch, stable, canary, canaryShare, holdback, holdbackVersion } = served.route;
  const { shadow, shadowShare, cycleId, who, why, at } = served.route;
  return {
    ...{ line: line.line, epoch, stable, canary, canaryShare, holdback, holdbackVersion },
    ...{ shadow, shadowShare, cycleId, who, why, at },
    leaseMsLeft: Math.max(0, Math.round(served.leaseUntilMs - performance.now())),
    reportedEpoch: line.reportedEpoch,
    source: served.source,
  };
}
