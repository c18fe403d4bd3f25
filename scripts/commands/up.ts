import type { Command } from 'commander';
import { join } from 'node:path';
import { setUp } from '../setup.ts';
import { describeTrainingDevice } from '../stack/gpu.ts';
import { forgetInstallation, installationDir, writeInstallation } from '../stack/installation.ts';
import { type RunningProcess, stopOnSignals, Supervisor } from '../stack/processes.ts';
import { messageOf, type Say } from '../stack/say.ts';
import { startServices } from '../stack/services.ts';
import { startStack } from '../stack/stack.ts';
import { Access } from './access.ts';
import { applyLines, describe, loadConfigs } from './lines.ts';
import { defaultWho } from './run-command.ts';

interface UpOptions {
  speed: number;
  who: string;
  json?: boolean;
}

/** `up`: everything on this machine, until Ctrl-C. */
export function registerUp(program: Command): void {
  program
    .command('up')
    .description('start Postgres, Temporal, the gateway and the workers here, until Ctrl-C')
    .argument('[file...]', 'configs of model lines to put in force')
    .option('--who <name>', 'recorded with the configs', defaultWho())
    .option('--speed <n>', 'divide operating durations (cadence, shadow, ramp) by this', Number, 1)
    .option('--json', 'print the addresses as one JSON document once everything runs')
    .addHelpText('after', '\nExample:\n  $ freshet up config/news-feed.yaml --speed 60')
    .action(async (files: string[], options: UpOptions) => {
      try {
        await up(files, options);
      } catch (error) {
        console.error(messageOf(error));
        process.exitCode = 1;
      }
    });
}

async function up(files: string[], { speed, who, json = false }: UpOptions): Promise<void> {
  // With --json only the document goes to standard output.
  const say: Say = json ? console.error : console.log;
  const configs = await loadConfigs(files, speed);
  const dataDir = installationDir();
  const supervisor = new Supervisor(join(dataDir, 'logs'));
  const stop = async (): Promise<void> => {
    await forgetInstallation(dataDir);
    await supervisor.stopAll();
  };
  stopOnSignals(async (signal) => {
    say(`${signal}: stopping`);
    await stop();
  });
  try {
    const tools = await setUp('up', say);
    const stack = await startStack({ dataDir, supervisor, say, temporalCli: tools.temporalCli });
    const services = await startServices({ stack, dataDir, python: tools.python, supervisor, say });
    say(await describeTrainingDevice());
    const installation = {
      ...stack,
      temporalNamespace: process.env['TEMPORAL_NAMESPACE'] ?? 'default',
      gatewayUrl: services.gatewayUrl,
      artifacts: join(dataDir, 'artifacts'),
    };
    await writeInstallation(dataDir, installation);
    const access = new Access(services.env);
    const lines = await applyLines(access, { configs, who }).finally(() => access.close());
    for (const line of lines) say(describe(line));
    const running = [services.gateway, ...services.workers];
    const processes = Object.fromEntries(running.map(({ name, pid }) => [name, pid]));
    if (json) console.log(JSON.stringify({ ...installation, lines, processes }, null, 2));
    say(`Logs: ${supervisor.logDir}. Ctrl-C stops everything.`);
    await untilOneEnds(running);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function untilOneEnds(processes: RunningProcess[]): Promise<never> {
  const { ended, exit } = await Promise.race(processes.map(async (ended) => ({ ended, exit: await ended.exited })));
  throw new Error(
    `${ended.name} ended by itself (${exit.signal ?? `code ${String(exit.code)}`}), so everything is stopped; ` +
      `its last lines, from ${ended.logFile}:\n${ended.lastLines()}`,
  );
}
