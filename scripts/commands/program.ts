import { Command } from 'commander';
import { registerCardCommands } from './card.ts';
import { registerDataCommands } from './data.ts';
import { registerDoctor } from './doctor.ts';
import { registerGateCommands } from './gate.ts';
import { registerKeyCommands } from './keys.ts';
import { registerLineCommands } from './lines.ts';
import { registerOperatorCommands } from './operate.ts';
import { registerRegistryCommands } from './registry.ts';
import { registerRouteCommands } from './routes.ts';
import { registerReproduceCommand } from './reproduce.ts';
import { registerShowCommands } from './show.ts';
import { registerStorageCommands } from './storage.ts';
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
  registerRegistryCommands(program);
  registerRouteCommands(program);
  registerOperatorCommands(program);
  registerGateCommands(program);
  registerTaintCommands(program);
  registerDataCommands(program);
  registerCardCommands(program);
  registerStorageCommands(program);
  registerKeyCommands(program);
  registerReproduceCommand(program);
  registerTrainerCommands(program);
  registerDoctor(program);
  return program;
}

const ABOUT_ADDRESSES = `
Addresses come from DATABASE_URL and TEMPORAL_ADDRESS, else from the stack that "freshet up" started here.

Example:
  $ freshet up config/news-feed.yaml`;
