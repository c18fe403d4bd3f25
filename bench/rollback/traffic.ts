import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { entryPoint, projectRoot } from '../../scripts/stack/project.ts';

/** One answer as its caller saw it; times in Unix ms. */
export interface Answer {
  /** Index of the gateway. */
  gateway: number;
  /** HTTP status, `lost`, or the code of the connection's error. */
  status: string;
  version: number;
  arm: string;
  epoch: number;
  sentAtMs: number;
  /** It came in between these two: its caller has to wait for the processor, too. */
  notBeforeMs: number;
  receivedAtMs: number;
}

export interface TrafficSpec {
  urls: string[];
  line: string;
  /** Requests a second, over all gateways. */
  rate: number;
  candidates: number;
  limit: number;
}

const line = z
  .tuple([z.number(), z.string(), z.number(), z.string(), z.number(), z.number(), z.number(), z.number()])
  .transform(([gateway, status, version, arm, epoch, sentAtMs, notBeforeMs, receivedAtMs]): Answer => {
    return { gateway, status, version, arm, epoch, sentAtMs, notBeforeMs, receivedAtMs };
  });

/** Requests from another process, with every answer kept. */
export class Traffic {
  readonly answers: Answer[] = [];
  readonly #child: ChildProcess;
  /** Received by version as canary, then by gateway: when last. */
  readonly #canary = new Map<number, Map<number, number>>();

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(spec: TrafficSpec): Promise<Traffic> {
    const args = [...entryPoint(join('bench', 'rollback', 'load.ts')), JSON.stringify(spec)];
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: projectRoot() });
    const traffic = new Traffic(child);
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (text) => {
      traffic.#take(line.parse(JSON.parse(text)));
    });
    await Promise.race([
      once(lines, 'line'),
      once(child, 'exit').then(() => Promise.reject(new Error('the load did not start'))),
    ]);
    return traffic;
  }

  /** Gateways that answered by a version as canary, with the time of the last such answer. */
  canaryAnswers(version: number): ReadonlyMap<number, number> {
    return this.#canary.get(version) ?? new Map<number, number>();
  }

  /** Sends no more; resolves when all that was sent is answered or lost. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const closed = once(this.#child, 'close');
    this.#child.stdin?.end();
    await closed;
  }

  #take(answer: Answer): void {
    this.answers.push(answer);
    if (answer.arm !== 'canary') return;
    const gateways = this.#canary.get(answer.version) ?? new Map<number, number>();
    this.#canary.set(answer.version, gateways);
    gateways.set(answer.gateway, Math.max(gateways.get(answer.gateway) ?? 0, answer.receivedAtMs));
  }
}
