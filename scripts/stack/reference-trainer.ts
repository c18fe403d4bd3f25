import { join } from 'node:path';
import { projectRoot } from './project.ts';
import { findPythonEnv } from './python-env.ts';

export interface TrainerCommand {
  /** Takes the path of a manifest as its last argument. */
  command: string[];
  /** Added to this process's environment. */
  env: NodeJS.ProcessEnv;
}

/**
 * The trainer of lines that name none.
 *
 * @throws Error when its Python is not set up.
 */
export async function referenceTrainer(env: NodeJS.ProcessEnv = process.env): Promise<TrainerCommand> {
  const python = await findPythonEnv(env);
  if (python === null) throw new Error('the environment that trains is not set up: run "npm run setup"');
  return { command: [python, '-m', 'freshet_trainer'], env: { PYTHONPATH: join(projectRoot(), 'trainer') } };
}
