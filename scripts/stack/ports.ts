import { createServer } from 'node:net';

const LOOPBACK = '127.0.0.1';
const given = new Set<number>();

/**
 * A port of 127.0.0.1 that nobody listens on: the preferred one, else any. No port is given out twice by one process;
 * another process may still take it before it is used.
 */
export async function freePort(preferred?: number): Promise<number> {
  if (preferred !== undefined && !given.has(preferred) && (await listenOnce(preferred)) !== null) {
    given.add(preferred);
    return preferred;
  }
  for (;;) {
    const port = await listenOnce(0);
    if (port === null) throw new Error(`no free port on ${LOOPBACK}: is the machine out of sockets?`);
    if (!given.has(port)) {
      given.add(port);
      return port;
    }
  }
}

/** Lets a port be given out again, for a restart at the same address: what listened there is gone. */
export function giveBackPort(port: number): void {
  given.delete(port);
}

async function listenOnce(port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(null);
    });
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => {
      const address = server.address();
      server.close(() => {
        resolve(typeof address === 'object' && address !== null ? address.port : null);
      });
    });
  });
}
