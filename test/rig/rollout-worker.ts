import { pino } from 'pino';
import { readEnvironment } from '../../workers/environment.ts';
import { startWorker } from '../../workers/start-worker.ts';

// The rollout worker, with workflow code that is bundled already: `rollout-worker.ts BUNDLE`.
const [codePath = ''] = process.argv.slice(2);
await startWorker('rollout', {
  env: readEnvironment(process.env),
  logger: pino({ level: 'fatal' }),
  workflowBundle: { codePath },
});
console.log('running');
