import http from 'node:http';
import https from 'node:https';
import { z } from 'zod';

export type RawValues = Record<string, string | number | null>;

/** Body of `POST /v1/rank`. `eventTimeMs` only for lines whose clock is `replay`. */
export interface RankRequest {
  line: string;
  requestId: string;
  userId: string;
  user: RawValues;
  context: RawValues;
  candidates: { id: string; features: RawValues }[];
  limit?: number;
  eventTimeMs?: number;
}

/** One event of `POST /v1/feedback`; `value` of a dwell is milliseconds. */
export interface FeedbackEvent {
  impressionId: string;
  event: 'click' | 'dwell';
  value?: number;
  eventTimeMs?: number;
}

const rankAnswer = z
  .object({
    version: z.number(),
    arm: z.string(),
    token: z.string(),
    items: z.array(z.object({ id: z.string(), position: z.number() })),
  })
  .transform(({ version, arm, token, items }) => ({
    ...{ version, arm },
    items: items.map(({ id, position }) => ({ id, impressionId: `${token}.${String(position)}` })),
  }));
const feedbackAnswer = z.object({
  accepted: z.number(),
  duplicates: z.number(),
  refused: z.array(z.object({ impressionId: z.string(), reason: z.string() })),
});

/** What is read of an answer: the items stand in the order in which they are shown. */
export type RankAnswer = z.infer<typeof rankAnswer>;
export type FeedbackAnswer = z.infer<typeof feedbackAnswer>;

/** A request that got no usable answer. The message says which request, and what came instead. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
}

/** The gateway's HTTP API over kept-alive connections. Does not retry what was answered, so that failures are seen. */
export interface GatewayClient {
  rank(request: RankRequest): Promise<RankAnswer>;
  sendFeedback(events: readonly FeedbackEvent[]): Promise<FeedbackAnswer>;
  close(): void;
}

/** @throws Error when `url` is not an http(s) address. */
export function createGatewayClient({
  url,
  maxConnections,
  timeoutMs,
}: {
  url: string;
  maxConnections: number;
  timeoutMs: number;
}): GatewayClient {
  const base = URL.canParse(url) ? new URL(url) : null;
  if (base === null || !['http:', 'https:'].includes(base.protocol)) {
    throw new Error(`the gateway's address must be an http or https URL such as http://localhost:8080, got "${url}"`);
  }
  const { Agent, request } = base.protocol === 'https:' ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: maxConnections });

  const post = (path: string, body: string, isRetry = false): Promise<string> =>
    new Promise((resolve, reject) => {
      const fail = (problem: string): void => {
        reject(new GatewayError(`POST ${path} at ${base.origin} ${problem}`));
      };
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const outgoing = request(
        new URL(path, base),
        { method: 'POST', agent, headers, timeout: timeoutMs },
        (incoming) => {
          const chunks: Buffer[] = [];
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
          incoming.on('error', (error) => {
            fail(`broke off: ${error.message}`);
          });
          incoming.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            const status = incoming.statusCode ?? 0;
            if (status >= 200 && status < 300) resolve(text);
            else fail(`answered ${status}: ${text.slice(0, 300)}`);
          });
        },
      );
      outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)));
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        // The server may close an idle connection just as it is used again: Node's documented case for one retry.
        if (outgoing.reusedSocket && error.code === 'ECONNRESET' && !isRetry) resolve(post(path, body, true));
        else fail(`failed: ${error.message === '' ? (error.code ?? 'unknown error') : error.message}`);
      });
      outgoing.end(body);
    });

  const call = async <T>(path: string, body: unknown, schema: z.ZodType<T>): Promise<T> => {
    const text = await post(path, JSON.stringify(body));
    try {
      return schema.parse(JSON.parse(text));
    } catch (error) {
      const problem = error instanceof z.ZodError ? z.prettifyError(error) : 'not JSON';
      throw new GatewayError(
        `POST ${path} at ${base.origin} answered something else than expected (${problem}): ${text.slice(0, 200)}`,
      );
    }
  };

  return {
    rank: (request_) => call('/v1/rank', request_, rankAnswer),
    sendFeedback: (events) => call('/v1/feedback', { events }, feedbackAnswer),
    close: () => {
      agent.destroy();
    },
  };
}
