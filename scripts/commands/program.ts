import { Command } from 'commander';
import { registerDataCommands } from './data.ts';
import { registerDoctor } from './doctor.ts';
import { registerLineCommands } from './lines.ts';
import { registerOperatorCommands } from './operate.ts';
import { registerShowCommands } from './show.ts';
import { registerTaintCommands } from './taint.ts';
import { registerTrainerCommands } from './trainer.ts';
import { registerUp } from './up.ts';

/** The `freshet` command with all its subcommands. */
export function freshetProgram(): Command {
  const program = new Command('freshet')
    .description('keeps ranking models fresh: train, compare, shadow, ramp, promote or roll back, on Temporal')
    .addHelpText('after', ABOUT_ADDRESSES);
  registerUp(program);
  registerLineCommands(program);
  registerShowCommands(program);
  registerOperatorCommands(program);
  registerTaintCommands(program);
  registerDataCommands(program);
  registerTrainerCommands(program);
  registerDoctor(program);
  return program;
}

const ABOUT_ADDRESSES = `
Addresses come from DATABASE_URL and TEMPORAL_ADDRESS, else from the stack that "freshet up" started here.

Example:
  $ freshet up config/news-feed.yaml`;
