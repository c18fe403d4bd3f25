import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { formatDuration } from '../config/duration.ts';
import { DEFAULT_QUEUE_PREFIX } from '../config/names.ts';
import { setEventClock } from '../store/event-clock.ts';
import { applyLine } from '../store/lines.ts';
import { Access } from './commands/access.ts';
import { logTable, openTraffic, type DemoTraffic } from './demo/feed-traffic.ts';
import { DEMO_HELP, readDemoOptions, type DemoOptions } from './demo/options.ts';
import { demoReport, formatReport, writeReport } from './demo/report.ts';
import { storyScenes } from './demo/scenes.ts';
import { playStory, type PlayedScene } from './demo/story.ts';
import { setUp } from './setup.ts';
import { describeTrainingDevice } from './stack/gpu.ts';
import { forgetInstallation, installationDir, writeInstallation } from './stack/installation.ts';
import { stopOnSignals, Supervisor } from './stack/processes.ts';
import { messageOf } from './stack/say.ts';
import { startServices, type Services } from './stack/services.ts';
import { startStack } from './stack/stack.ts';

const say = (line: string): void => {
  console.log(`${new Date().toISOString().slice(11, 19)} ${line}`);
};

/** Faster than in production, as the whole demo is: health sums and routes are looked at several times a check. */
const GATEWAY_PACE = { FRESHET_FLUSH_EVERY_MS: '250', FRESHET_POLL_EVERY_MS: '500', FRESHET_SEAL_EVERY_MS: '500' };

async function main(): Promise<void> {
  const options = await readDemoOptions(process.argv.slice(2));
  if (options === null) {
    console.log(DEMO_HELP);
    return;
  }
  const dataDir = join(installationDir(), 'demo');
  const supervisor = new Supervisor(join(dataDir, 'logs'));
  let traffic: DemoTraffic['traffic'] | null = null;
  const stop = async (): Promise<void> => {
    await traffic?.stop();
    await forgetInstallation(installationDir());
    await supervisor.stopAll();
  };
  stopOnSignals(async (signal) => {
    say(`${signal}: stopping`);
    await stop();
  });
  try {
    const tools = await setUp('demo', say);
    const { config, source } = options;
    const stack = await startStack({ dataDir, supervisor, say, temporalCli: tools.temporalCli, fresh: true });
    for (const left of ['artifacts', 'events', 'work', 'outcomes'])
      await rm(join(dataDir, left), { recursive: true, force: true });
    const services = await startServices({
      stack,
      dataDir,
      python: tools.python,
      supervisor,
      say,
      env: { ...GATEWAY_PACE, FRESHET_LOG_TABLE: logTable(source, dataDir) },
    });
    say(await describeTrainingDevice());
    const access = new Access(services.env);
    const db = await access.database();
    await writeInstallation(installationDir(), {
      ...stack,
      temporalNamespace: 'default',
      gatewayUrl: services.gatewayUrl,
      artifacts: join(dataDir, 'artifacts'),
    });
    await applyLine(db, { config, who: 'demo' });
    await untilServing(services, config.line);

    const dayMs = config.schedule.every;
    const opened = await openTraffic({
      ...{ source, config, dayMs, dataDir, gatewayUrl: services.gatewayUrl, seed: options.seed },
      onTimeline: (timeline) => {
        setEventClock(db, { line: config.line, ...timeline }).catch((error: unknown) => {
          say(`the event clock could not be set: ${messageOf(error)}`);
        });
      },
    });
    traffic = opened.traffic;
    if (source.kind === 'simulated') say('NO LOG AT HAND: the traffic is SIMULATED');
    say(`traffic: ${opened.dataSource}`);
    explainClocks(options);
    await traffic.start();

    // Whole seconds are what a schedule's phase is made of.
    const firstAtMs = Math.ceil((Date.now() + dayMs) / 1_000) * 1_000;
    const stage = {
      ...{ client: await access.temporal(), db, logRoot: join(dataDir, 'events') },
      ...{ queuePrefix: DEFAULT_QUEUE_PREFIX, dayMs, say },
    };
    const scenes = await playStory(stage, storyScenes(config, Date.now()), firstAtMs);
    const stats = options.keep ? traffic.stats() : await traffic.stop();
    await conclude({ scenes, options, dataSource: opened.dataSource, stats, uiUrl: stack.temporalUiUrl });
    if (options.keep) await keepRunning(services);
    await access.close();
    await stop();
  } catch (error) {
    await stop();
    throw error;
  }
}

async function conclude(of: {
  scenes: PlayedScene[];
  options: DemoOptions;
  dataSource: string;
  stats: ReturnType<DemoTraffic['traffic']['stats']>;
  uiUrl: string | null;
}): Promise<void> {
  const { scenes, options, stats } = of;
  const report = demoReport({ scenes, traffic: stats, dataSource: of.dataSource });
  if (options.json !== null) await writeReport(options.json, report);
  console.log(`\n${formatReport(report)}\n`);
  if (of.uiUrl !== null) {
    console.log(
      `Temporal UI${options.keep ? '' : ' (with --keep)'}: ${of.uiUrl}/namespaces/default/workflows, search for FreshetLine = "${options.config.line}"`,
    );
  }
  const deviations = scenes.flatMap(({ scene, deviations: found }) => found.map((what) => `${scene.title}: ${what}`));
  if (stats.failed > 0) deviations.push(`${String(stats.failed)} requests failed: ${stats.problems.join('; ')}`);
  for (const deviation of deviations) console.log(`NOT AS TOLD  ${deviation}`);
  if (deviations.length === 0) console.log('Every cycle ended as told.');
  else process.exitCode = 1;
}

function explainClocks({ config, speed }: DemoOptions): void {
  const { schedule, shadow, canary } = config;
  const round = (ms: number): string => formatDuration(Math.round(ms));
  say(
    `event time: one log day in ${round(schedule.every)} (the cadence), ${String(Math.round(86_400_000 / schedule.every))} times real time`,
  );
  say(
    `operating time: divided by ${String(speed)}: cadence ${round(schedule.every)}, shadow ${round(shadow.duration)}, ramp ${round(canary.window)}, check every ${round(canary.checkEvery)}`,
  );
  say(
    `real time, with floors: lease ${round(canary.lease)}, rollback deadline ${round(canary.rollbackDeadline)}, timeouts and heartbeats`,
  );
}

/** The gateway follows a line once it is applied: wait until it answers with its route. */
async function untilServing({ gatewayUrl, gateway }: Services, line: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const answer = await fetch(`${gatewayUrl}/v1/route?line=${line}`).catch(() => null);
    if (answer?.ok === true) return;
    if (Date.now() > deadline || !gateway.running()) {
      throw new Error(
        `the gateway does not serve ${line}; its last lines, from ${gateway.logFile}:\n${gateway.lastLines()}`,
      );
    }
    await wait(200);
  }
}

async function keepRunning(services: Services): Promise<void> {
  say('everything keeps running until Ctrl-C (npm run freshet -- status LINE)');
  await Promise.race([services.gateway, ...services.workers].map((child) => child.exited));
}

main().catch((error: unknown) => {
  console.error(messageOf(error));
  process.exitCode = 1;
});
