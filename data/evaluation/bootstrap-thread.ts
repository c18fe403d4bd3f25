import { workerData } from 'node:worker_threads';
import { runNext, type BootstrapWork } from './bootstrap-replicates.ts';

/** A thread of the bootstrap: does replicates until none is left, or all are to stop. What it finds lies in shared memory. */
while (runNext(workerData as BootstrapWork));
