import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMain, projectRoot } from './stack/project.ts';
import { ensureLockedPython, ensurePythonEnv } from './stack/python-env.ts';
import { messageOf, type Say } from './stack/say.ts';
import { findTemporalCli } from './stack/temporal-cli.ts';
import { findTimeSkippingServer } from './stack/time-skipping-server.ts';

const PURPOSES = ['up', 'demo', 'test'] as const;
export type Purpose = (typeof PURPOSES)[number];

/** The environment of the second trainer, which only tests use. */
export const SECOND_TRAINER_ENV = {
  lock: join(projectRoot(), 'test', 'second-trainer', 'requirements.lock'),
  name: 'second-trainer',
};

/** The environment of the MLflow server that tests mirror to. */
export const MLFLOW_ENV = {
  lock: join(projectRoot(), 'test', 'mlflow', 'requirements.lock'),
  name: 'mlflow',
};

/** What set-up found or made. */
export interface Toolchain {
  /** Null when TEMPORAL_ADDRESS names a server, so that none is started. */
  temporalCli: string | null;
  python: string;
  /** Only for tests; null where there is no Java to run it. */
  timeSkippingServer: string | null;
}

/**
 * Gets what is missing on this machine, a line for each part, nothing asked; what is there already costs nothing.
 *
 * @throws Error that says which part could not be had and what to do.
 */
export async function setUp(purpose: Purpose, say: Say): Promise<Toolchain> {
  const python = await ensurePythonEnv({ say });
  say(`Python environment: ${python.path}`);
  let temporalCli: string | null = null;
  if (process.env['TEMPORAL_ADDRESS']) {
    say(`Temporal: the server at ${process.env['TEMPORAL_ADDRESS']}`);
  } else {
    const cli = await findTemporalCli({ say });
    say(`Temporal CLI: ${cli.path} (${cli.source})`);
    temporalCli = cli.path;
  }
  if (purpose !== 'test') return { temporalCli, python: python.path, timeSkippingServer: null };
  const what = "Python environment of the tests' second trainer: installing XGBoost (400 MB on disk, once)";
  const second = await ensureLockedPython({ ...SECOND_TRAINER_ENV, what, say });
  say(`Python environment of the tests' second trainer: ${second.path}`);
  const forMlflow = "Python environment of the tests' MLflow server: installing it (220 MB on disk, once)";
  const mlflow = await ensureLockedPython({ ...MLFLOW_ENV, what: forMlflow, say });
  say(`Python environment of the tests' MLflow server: ${mlflow.path}`);
  const timeSkipping = await findTimeSkippingServer({ say });
  say(`Time-skipping server: ${timeSkipping.kind === 'found' ? timeSkipping.path : `none (${timeSkipping.reason})`}`);
  return {
    temporalCli,
    python: python.path,
    timeSkippingServer: timeSkipping.kind === 'found' ? timeSkipping.path : null,
  };
}

if (isMain(import.meta.url)) {
  const { values } = parseArgs({ options: { for: { type: 'string', default: 'up' } } });
  const purpose = PURPOSES.find((known) => known === values.for);
  try {
    if (purpose === undefined) throw new Error(`--for ${values.for} is not known: one of ${PURPOSES.join(', ')}`);
    await setUp(purpose, console.log);
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}
