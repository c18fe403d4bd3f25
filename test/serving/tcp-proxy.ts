import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** A network between a client and Postgres that can be cut: connections break and no new one is accepted. */
export class TcpProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly url: string;
  #cut = false;
  /** Connections stay open and nothing passes any more. */
  #silent = false;

  private constructor(server: Server, target: URL) {
    this.#server = server;
    const url = new URL(target);
    url.hostname = '127.0.0.1';
    url.port = String((server.address() as AddressInfo).port);
    this.url = url.href;
    server.on('connection', (client) => {
      if (this.#cut) {
        client.destroy();
        return;
      }
      const upstream = connect(Number(target.port), target.hostname);
      this.#pass(client, upstream);
      this.#pass(upstream, client);
    });
  }

  static async to(databaseUrl: string): Promise<TcpProxy> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TcpProxy(server, new URL(databaseUrl));
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  silence(): void {
    this.#silent = true;
  }

  restore(): void {
    this.#cut = false;
    this.#silent = false;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #pass(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (data) => {
      if (!this.#silent) to.write(data);
    });
    from.on('error', () => undefined);
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
