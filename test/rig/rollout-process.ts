import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { entryPoint } from '../../scripts/stack/project.ts';
import type { WorkerEnvironment } from '../../workers/environment.ts';
import { workflowBundle } from './workflow-bundle.ts';

/** The rollout worker as a process of its own, so that it can be killed. */
export class RolloutProcess {
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;

  constructor(env: WorkerEnvironment) {
    // The others, which were parsed, have defaults that do.
    const own = Object.entries(env).flatMap(([name, value]) =>
      typeof value === 'string' ? [[name, value] as const] : [],
    );
    this.#env = { ...process.env, ...Object.fromEntries(own) };
  }

  /** Resolves when it polls. */
  async start(): Promise<void> {
    const { codePath } = await workflowBundle();
    this.#child = spawn(process.execPath, [...entryPoint('test/rig/rollout-worker.ts'), codePath], {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('the worker has no standard output');
    for await (const line of createInterface({ input: stdout })) if (line === 'running') return;
  }

  /** Without a chance to finish anything. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
}
