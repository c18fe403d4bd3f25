import type { Command } from 'commander';
import { applySchedule, applyTriggerSchedule } from '../../activities/schedule.ts';
import { askForCycle } from '../../activities/start-cycle.ts';
import { formatDuration } from '../../config/duration.ts';
import { loadLineConfig } from '../../config/load.ts';
import { DEFAULT_QUEUE_PREFIX } from '../../config/names.ts';
import type { LineConfig } from '../../config/schema.ts';
import { atSpeed } from '../../config/speed.ts';
import { openCycle } from '../../store/cycles.ts';
import { migrate } from '../../store/database.ts';
import { applyLine, readLine } from '../../store/lines.ts';
import type { Access } from './access.ts';
import { defaultWho, runs } from './run-command.ts';

export interface AppliedLine {
  line: string;
  config: 'created' | 'updated' | 'unchanged';
  schedule: 'created' | 'updated';
  every: string;
  /** How often the model is updated between two whole cycles; null where it is not. */
  onlineEvery: string | null;
  /** How often the triggers are looked at; null where none is on. */
  triggersEvery: string | null;
}

/** `schedule apply`, `cycle start`, `migrate`. */
export function registerLineCommands(program: Command): void {
  const schedule = program.command('schedule').description('the schedules of model lines');
  runs(
    schedule
      .command('apply')
      .description('put the configs of model lines in force: their rows in Postgres and their schedules in Temporal')
      .argument('<file...>', 'YAML config of a model line')
      .option('--who <name>', 'recorded with the config', defaultWho())
      .option('--speed <n>', 'divide operating durations (cadence, shadow, ramp) by this', Number, 1),
    {
      example: 'schedule apply config/news-feed.yaml',
      work: async (access, files: string[], { who, speed }: { who: string; speed: number }) => {
        const applied = await applyLines(access, { configs: await loadConfigs(files, speed), who });
        return { data: { lines: applied }, text: applied.map(describe).join('\n') };
      },
    },
  );

  const cycle = program.command('cycle').description('the training cycles of a model line');
  runs(
    cycle
      .command('start')
      .description("start a cycle now, through the line's schedule; skipped while one is running")
      .argument('<line>')
      .option('--who <name>', 'recorded with the cycle', defaultWho())
      .option('--reason <text>', 'recorded with the cycle', 'started by hand'),
    {
      example: 'cycle start news-feed --reason "the catalogue was imported again"',
      work: async (access, line: string, { who, reason }: { who: string; reason: string }) => {
        const db = await access.database();
        await readLine(db, line);
        const temporal = await access.temporal();
        const running = await openCycle(db, line);
        if (running !== null) {
          const text = `not started: cycle ${running.cycleId} of ${line} is running; see "freshet status ${line}"`;
          return { data: { line, started: false, running: running.cycleId }, text, ok: false };
        }
        await askForCycle({ db, temporal }, { line, request: { trigger: 'manual', who, why: reason } });
        return {
          data: { line, started: true },
          text: `a cycle of ${line} was asked for; see "freshet status ${line}"`,
        };
      },
    },
  );

  runs(program.command('migrate').description('bring the schema of the Postgres database up to date'), {
    example: 'migrate',
    work: async (access) => {
      const { databaseUrl } = await access.installation();
      const ran = await migrate(databaseUrl);
      return { data: { ran }, text: ran.length === 0 ? 'the schema is up to date' : `migrated: ${ran.join(', ')}` };
    },
  });
}

/** All files are read before anything is changed. */
export async function loadConfigs(files: readonly string[], speed = 1): Promise<LineConfig[]> {
  const configs = await Promise.all(files.map(loadLineConfig));
  for (const [index, { line }] of configs.entries()) {
    const first = configs.findIndex((config) => config.line === line);
    if (first !== index)
      throw new Error(`${files[index] ?? ''}: line "${line}" is already the line of ${files[first] ?? ''}`);
  }
  return configs.map((config) => atSpeed(config, speed));
}

/** Rows first, so that no schedule fires for a line that Postgres does not know. */
export async function applyLines(
  access: Access,
  { configs, who }: { configs: LineConfig[]; who: string },
): Promise<AppliedLine[]> {
  const db = await access.database();
  const temporal = await access.temporal();
  const queuePrefix = access.env['FRESHET_QUEUE_PREFIX'] ?? DEFAULT_QUEUE_PREFIX;
  const applied: AppliedLine[] = [];
  for (const config of configs) {
    const { kind } = await applyLine(db, { config, who });
    const schedule = await applySchedule(temporal, config, { queuePrefix });
    const triggers = await applyTriggerSchedule(temporal, config, { queuePrefix });
    applied.push({
      line: config.line,
      config: kind,
      schedule,
      every: formatDuration(config.schedule.every),
      onlineEvery: config.training.online === undefined ? null : formatDuration(config.training.online.every),
      triggersEvery: triggers === 'deleted' ? null : formatDuration(config.triggers.every),
    });
  }
  return applied;
}

export function describe({ line, config, schedule, every, onlineEvery, triggersEvery }: AppliedLine): string {
  const online = onlineEvery === null ? '' : `, an online update every ${onlineEvery} between`;
  const triggers = triggersEvery === null ? 'no triggers' : `triggers looked at every ${triggersEvery}`;
  return `${line}: config ${config}, schedule ${schedule}, a cycle every ${every}${online}, ${triggers}`;
}
