import { resolve } from 'node:path';
import { z } from 'zod';
import { duration } from '../config/duration.ts';
import { DEFAULT_QUEUE_PREFIX } from '../config/names.ts';

/** Absolute, as the trainer contract promises the paths in it. */
const folder = z
  .string()
  .min(1)
  .transform((path) => resolve(path));

const schema = z.object({
  DATABASE_URL: z.string().min(1),
  TEMPORAL_ADDRESS: z.string().min(1).default('127.0.0.1:7233'),
  TEMPORAL_NAMESPACE: z.string().min(1).default('default'),
  TEMPORAL_UI_URL: z.string().min(1).optional(),
  FRESHET_QUEUE_PREFIX: z.string().min(1).default(DEFAULT_QUEUE_PREFIX),
  FRESHET_ARTIFACTS: folder.prefault('.freshet/artifacts'),
  FRESHET_LOG_ROOT: z.string().min(1).default('.freshet/events'),
  FRESHET_WORK_ROOT: folder.prefault('.freshet/work'),
  FRESHET_LOG_TABLE: z.string().min(1).optional(),
  /** Compact an hour of the event log when nothing came for so long: gateways seal every second, and late ones are merged. */
  FRESHET_LOG_COMPACT_AFTER: duration.prefault('10m'),
  /** Delete what was compacted so long after: four times what a snapshot may take to read. */
  FRESHET_LOG_GRACE: duration.prefault('1h'),
  /** Keep rows of the event log so long by event time, and never shorter than what a line's next snapshot can read. */
  FRESHET_LOG_KEEP: duration.prefault('30d'),
  FRESHET_PYTHON: z.string().min(1).default('python3'),
  /** GPUs of the gpu worker: how many (0: train on the CPU), or their ids with commas between. All that there are when left out. */
  FRESHET_GPU_DEVICES: z.string().min(1).optional(),
  /** Trainings at a time where there is no GPU. */
  FRESHET_TRAINERS: z.coerce.number().int().min(1).default(1),
  FRESHET_REPORTS_HOST: z.string().min(1).default('127.0.0.1'),
  /** The data worker serves data reports here; without it nobody does. */
  FRESHET_REPORTS_PORT: z.coerce.number().int().min(1).max(65_535).optional(),
  /** What links to data reports begin with, when another address than the worker's own leads there. */
  FRESHET_REPORTS_URL: z.url().optional(),
  FRESHET_BUILD_ID: z.string().min(1).optional(),
  PROMETHEUS_URL: z.string().min(1).optional(),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
});

/** What a worker is told by its environment. */
export type WorkerEnvironment = z.output<typeof schema>;

/**
 * Reads the worker's environment.
 *
 * @throws Error that names each variable that is missing or wrong.
 */
export function readEnvironment(env: NodeJS.ProcessEnv): WorkerEnvironment {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new Error(`the worker's environment is incomplete (npm run freshet -- up sets it): ${issues.join('; ')}`);
}
