import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { REQUEST_ID, slateBodies } from './slates.ts';

/**
 * Sends rank requests to one server over kept-alive connections, as a process of its own: HTTP by hand, so that it takes
 * little of the machine. Argument: JSON of the options below. Lines on standard input: `phase NAME` begins a phase (what is
 * answered from then on counts there), `stop` ends it, and it prints the figures of each phase as JSON.
 *
 * Without a rate each connection sends as soon as it was answered. With one, requests are due at even intervals, and
 * latency counts from when a request was due, so that a server that stalls is not spared the requests it would have got.
 */
const options = z
  .object({
    url: z.string(),
    line: z.string(),
    connections: z.number(),
    candidates: z.number(),
    limit: z.number(),
    bodies: z.number().default(2_000),
    rate: z.number().nullable().default(null),
  })
  .parse(JSON.parse(process.argv[2] ?? '{}'));

interface Phase {
  startedMs: number;
  endedMs: number;
  /** CPU time of this process at the beginning, and then of the phase. */
  cpuMicros: number;
  latenciesMs: number[];
  statuses: Record<string, number>;
}

const ID_DIGITS = REQUEST_ID.length - 2;
/** Answers are read into one piece of memory, one after the other. */
const received = Buffer.alloc(65_536);

const { hostname, port, host } = new URL(options.url);
/** What comes before the number in the request id, and what comes after it: the same bytes for every connection. */
const requests = slateBodies({ ...options, count: options.bodies }).map((body) => {
  const head = `POST /v1/rank HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${String(Buffer.byteLength(body))}\r\n\r\n`;
  const idEnds = body.indexOf(REQUEST_ID) + REQUEST_ID.length;
  return { head: head + body.slice(0, idEnds - ID_DIGITS), tail: Buffer.from(body.slice(idEnds)) };
});
const phases = new Map<string, Phase>();
let phase: Phase | null = null;
let sent = 0;
let stopping = false;

function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function beginPhase(name: string): void {
  endPhase();
  phase = { startedMs: performance.now(), endedMs: NaN, cpuMicros: cpuMicros(), latenciesMs: [], statuses: {} };
  phases.set(name, phase);
}

function endPhase(): void {
  if (phase === null) return;
  phase.endedMs = performance.now();
  phase.cpuMicros = cpuMicros() - phase.cpuMicros;
}

function count(status: string, dueMs: number): void {
  if (phase === null) return;
  phase.statuses[status] = (phase.statuses[status] ?? 0) + 1;
  phase.latenciesMs.push(performance.now() - dueMs);
}

/** One connection, one request at a time. */
class Connection {
  #socket: Socket | null = null;
  /** Of an answer that came in parts. */
  #begun = '';
  #dueMs = 0;
  #busy = false;
  readonly #onFree: (connection: Connection) => void;

  constructor(onFree: (connection: Connection) => void) {
    this.#onFree = onFree;
  }

  send(dueMs: number): void {
    const request = requests[sent % requests.length];
    if (request === undefined) return;
    sent += 1;
    this.#dueMs = dueMs;
    this.#busy = true;
    const socket = (this.#socket ??= this.#connect());
    // One write of both, and no copy of the body.
    socket.cork();
    socket.write(request.head + String(sent).padStart(ID_DIGITS, '0'), 'latin1');
    socket.write(request.tail);
    socket.uncork();
  }

  end(): void {
    this.#socket?.destroy();
  }

  #connect(): Socket {
    const onread = {
      buffer: received,
      callback: (bytes: number) => {
        this.#read(received.toString('latin1', 0, bytes));
        return true;
      },
    };
    const socket = connect({ host: hostname, port: Number(port), noDelay: true, onread });
    const lost = (): void => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#begun = '';
      if (this.#busy) this.#answered('lost');
    };
    socket.on('error', lost);
    socket.on('close', lost);
    return socket;
  }

  #read(text: string): void {
    const answer = this.#begun === '' ? text : this.#begun + text;
    const end = answer.indexOf('\r\n\r\n');
    const length = end < 0 ? NaN : contentLength(answer.slice(0, end));
    if (!(answer.length >= end + 4 + length)) {
      this.#begun = answer;
      return;
    }
    this.#begun = '';
    this.#answered(answer.slice(9, 12));
  }

  #answered(status: string): void {
    this.#busy = false;
    count(status, this.#dueMs);
    if (!stopping) this.#onFree(this);
  }
}

const contentLength = (head: string): number => Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);

function start(): () => void {
  const { connections, rate } = options;
  if (rate === null) {
    const all = Array.from({ length: connections }, () => {
      return new Connection((connection) => {
        connection.send(performance.now());
      });
    });
    for (const connection of all) connection.send(performance.now());
    return () => {
      for (const connection of all) connection.end();
    };
  }
  const free: Connection[] = [];
  const all = Array.from({ length: connections }, () => new Connection((connection) => void free.push(connection)));
  free.push(...all);
  let dueMs = performance.now();
  const timer = setInterval(() => {
    for (; dueMs <= performance.now(); dueMs += 1_000 / rate) {
      const connection = free.pop();
      // All are waiting: the server is too slow for the rate. The request stays due.
      if (connection === undefined) return;
      connection.send(dueMs);
    }
  }, 1);
  return () => {
    clearInterval(timer);
    for (const connection of all) connection.end();
  };
}

function report(): Record<string, unknown> {
  const at = (sorted: Float64Array, share: number): number | null =>
    sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? null;
  return Object.fromEntries(
    [...phases].map(([name, { startedMs, endedMs, cpuMicros, latenciesMs, statuses }]) => {
      const sorted = Float64Array.from(latenciesMs).sort();
      const seconds = (endedMs - startedMs) / 1_000;
      const quantiles = { p50Ms: at(sorted, 0.5), p99Ms: at(sorted, 0.99), maxMs: at(sorted, 1) };
      const loadCpuSeconds = cpuMicros / 1e6;
      return [name, { seconds, requests: sorted.length, statuses, ...quantiles, loadCpuSeconds }];
    }),
  );
}

const end = start();
createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, name = ''] = line.split(' ');
  if (command === 'phase') beginPhase(name);
  if (command !== 'stop') return;
  stopping = true;
  endPhase();
  end();
  process.stdout.write(`${JSON.stringify(report())}\n`, () => process.exit(0));
});
process.stdout.write('{"sending":true}\n');
