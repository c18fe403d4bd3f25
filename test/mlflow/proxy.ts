import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * What happens to a request: it passes; is answered with an error; gets no answer; or passes, and the connection breaks
 * before its answer arrives, which leaves a caller where a crash right after the request would.
 */
export type Fate = 'pass' | 'fail' | 'hang' | 'lose';

export interface ProxiedRequest {
  /** `runs/create` */
  path: string;
  /** All of it; two that are the same ask for the same. */
  content: string;
}

export interface Proxy {
  url: string;
  /** Paths of the requests so far, `runs/create`. */
  paths: string[];
  decide: (request: ProxiedRequest) => Fate;
  close(): Promise<void>;
}

/** A network between a client and an HTTP server that can be made to fail. */
export async function startProxy(target: string): Promise<Proxy> {
  const server = createServer((request, response) => {
    void textOf(request).then((body) => {
      const { method = 'GET', url = '', socket } = request;
      const path = url.replace(/^\/api\/2\.0\/mlflow\//, '').replace(/\?.*/, '');
      proxy.paths.push(path);
      const fate = proxy.decide({ path, content: `${method} ${url} ${body}` });
      if (fate === 'hang') return;
      if (fate === 'fail') {
        response.writeHead(500, { 'content-type': 'application/json' });
        response.end('{"error_code": "INTERNAL_ERROR", "message": "the disk is full"}');
        return;
      }
      forward({ method, url: `${target}${url}`, body }).then(
        (answer) => {
          if (fate === 'lose') socket.destroy();
          else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
        },
        () => socket.destroy(),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxy: Proxy = {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    paths: [],
    decide: () => 'pass',
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
  return proxy;
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

async function forward(of: { method: string; url: string; body: string }): Promise<{ status: number; body: string }> {
  const { method, url, body } = of;
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method, headers, ...(body === '' ? {} : { body }) });
  return { status: response.status, body: await response.text() };
}
