import { parentPort } from 'node:worker_threads';
import { runJob, type Job } from './simulation.ts';

/** Takes one job after another. */
parentPort?.on('message', (job: Job) => {
  parentPort?.postMessage(runJob(job));
});
