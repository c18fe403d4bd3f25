import { pino } from 'pino';
import { WORKER_ROLES, type WorkerRole } from '../config/names.ts';
import { readEnvironment } from './environment.ts';
import { startWorker } from './start-worker.ts';

/** `workers/main.ts data|gpu|rollout`: runs one worker until SIGTERM or SIGINT. Says `{"running": role}` once it polls. */
async function main(): Promise<void> {
  const role = WORKER_ROLES.find((name) => name === process.argv[2]);
  if (role === undefined) throw new Error(`say which worker to run: ${WORKER_ROLES.join(', ')}`);
  await run(role);
}

async function run(role: WorkerRole): Promise<void> {
  const env = readEnvironment(process.env);
  const logger = pino({ level: env.LOG_LEVEL, name: `freshet-${role}` });
  const worker = await startWorker(role, { env, logger });
  const stop = (): void => {
    void worker.stop();
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.stdout.write(`${JSON.stringify({ running: role })}\n`);
  await worker.done;
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
