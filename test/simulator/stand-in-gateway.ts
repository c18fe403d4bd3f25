import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FeedbackEvent, RankRequest } from '../../simulator/gateway-client.ts';

type Candidates = RankRequest['candidates'];

/** An HTTP server where the gateway would be: records what it is sent and answers in the gateway's format. */
export interface StandInGateway {
  url: string;
  ranked: RankRequest[];
  feedback: FeedbackEvent[];
  /** The order it answers in; the input's order at first. */
  rankBy: (candidates: Candidates) => Candidates;
  /** Answers a request instead of the stand-in when it returns true. */
  interfere: (path: string, request: IncomingMessage, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

/** Starts on a free port. Impression ids are `<request id>.<item id>`. */
export async function startStandInGateway(): Promise<StandInGateway> {
  const server = createServer((request, response) => {
    void answer(request, response);
  });
  const gateway: StandInGateway = {
    url: '',
    ranked: [],
    feedback: [],
    rankBy: (candidates) => candidates,
    interfere: () => false,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => {
          resolve();
        });
      }),
  };

  const shown = new Map<string, string>();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (gateway.interfere(request.url ?? '', request, response)) return;
    const body: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    const result =
      request.url === '/v1/rank' ? rank(body as RankRequest) : takeFeedback(body as { events: FeedbackEvent[] });
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(result));
  }

  function rank(body: RankRequest): unknown {
    gateway.ranked.push(body);
    const items = gateway.rankBy(body.candidates).slice(0, body.limit ?? body.candidates.length);
    return {
      requestId: body.requestId,
      version: 1,
      arm: 'stable',
      epoch: 1,
      token: body.requestId,
      items: items.map(({ id }, position) => {
        shown.set(`${body.requestId}.${String(position)}`, `${body.requestId}.${id}`);
        return { id, score: 0.5, position };
      }),
    };
  }

  function takeFeedback({ events }: { events: FeedbackEvent[] }): unknown {
    // By item, which is what tests ask about.
    gateway.feedback.push(
      ...events.map((event) => ({ ...event, impressionId: shown.get(event.impressionId) ?? event.impressionId })),
    );
    return { accepted: events.length, duplicates: 0, refused: [] };
  }

  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  gateway.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return gateway;
}
