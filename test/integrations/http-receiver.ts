import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Received {
  method: string;
  path: string;
  contentType: string;
  body: unknown;
}

export interface Receiver {
  url: string;
  received: Received[];
  close(): Promise<void>;
}

/** What the server does with its n-th request (from 0): a status and a body, or anything by hand. */
export type Answer =
  { status: number; body?: string; headers?: Record<string, string> } | ((response: ServerResponse) => void);

/** An HTTP server on a free local port that keeps what it receives. */
export async function startReceiver(
  answer: (index: number, request: Received) => Answer = () => ({ status: 200, body: 'ok' }),
): Promise<Receiver> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    void read(request).then((message) => {
      const given = answer(received.push(message) - 1, message);
      if (typeof given === 'function') given(response);
      else response.writeHead(given.status, given.headers).end(given.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    received,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

async function read(request: IncomingMessage): Promise<Received> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  const contentType = request.headers['content-type'] ?? '';
  const body: unknown = contentType.includes('json') ? JSON.parse(text) : text;
  return { method: request.method ?? '', path: request.url ?? '', contentType, body };
}
